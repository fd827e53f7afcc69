"""The batches of which the log tells: how far each is, and whether it was cut off."""

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from jetmesh.jetstream.direct_get import Stored
from jetmesh.operate.operator_log import DISCARDED, REFUSED, BatchNote, BatchState, Entry

SILENT_SECONDS = 45.0
"""A batch that is under way says so more often; one that is silent for so long was cut off."""


@dataclass(slots=True)
class Batch:
    """One action on many letters, as the log has it."""

    by: str
    at: str
    reaction: str
    note: BatchNote
    """The newest one."""
    seen: int
    """Where it stands."""
    heard: float
    succeeded: int = 0
    refused: int = 0
    position: int = 0
    """The last letter of which the log says what became of it."""
    discards: "array[int]" = field(default_factory=lambda: array("Q"))
    """Where the entries of its discards stand."""

    @property
    def is_over(self) -> bool:
        """Whether it came to its end, or was stopped."""
        return self.note.state is BatchState.ENDED

    @property
    def is_cut_off(self) -> bool:
        """Whether its console ended in the middle of it."""
        return not self.is_over and time.time() - self.heard > SILENT_SECONDS


class Batches:
    """All batches, by their ids."""

    def __init__(self) -> None:
        self._known: dict[str, Batch] = {}

    def get(self, batch_id: str) -> Batch | None:
        """The batch of this id."""
        return self._known.get(batch_id)

    def of(self, group: str) -> Iterator[Batch]:
        """The batches about a group, the newest first."""
        return (batch for batch in reversed(self._known.values()) if batch.note.group == group)

    def open(self) -> list[Batch]:
        """Those that have not ended, the newest first."""
        return [batch for batch in reversed(self._known.values()) if not batch.is_over]

    def take(self, message: Stored, entry: Entry) -> None:
        """Learn from an entry of the log."""
        at = datetime.fromisoformat(message.time).timestamp()
        if entry.batch:
            new = Batch(entry.by, entry.at, entry.reaction, entry.batch, message.sequence, at)
            known = self._known.setdefault(entry.batch.id, new)
            known.note, known.seen, known.heard = entry.batch, message.sequence, at
        elif batch := self._known.get(entry.batch_id):
            batch.heard = at
            batch.position = max(batch.position, entry.letter)
            batch.refused += entry.action == REFUSED
            batch.succeeded += entry.action != REFUSED
            if entry.action == DISCARDED:
                batch.discards.append(message.sequence)
