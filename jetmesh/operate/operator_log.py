"""The append-only log of what operators did with dead letters and reactions: who, when, what, why.

It stands in the stream of the letters, so that one backup has both. A *batch* is one action on many letters: its notes
say how it began, how far it is, and how it ended; the entries of its letters have its id.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from jetmesh.cloudevents import now
from jetmesh.jetstream.message import Guard, Message
from jetmesh.jetstream.publisher import Publisher
from jetmesh.operate.pausing import is_for_good
from jetmesh.topology import names

REPLAYED, DISCARDED, EDITED = "replayed", "discarded", "edited"
PAUSED, RESUMED = "paused", "resumed"
REFUSED, BROUGHT_BACK, BATCH = "refused", "brought back", "batch"
REMOVED = (REPLAYED, DISCARDED, EDITED)
"""The actions after which a letter is not there any more."""


class BatchState(StrEnum):
    """How far a batch is, as its newest note says. One that is under way says so again and again: one that is silent
    was cut off."""

    BEGAN = "began"
    GOES_ON = "goes on"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class BatchNote:
    """One action on many letters of a group: which ones, and what became of them so far."""

    id: str
    state: BatchState
    action: str
    group: str
    words: str = ""
    """What the letters have in common."""
    total: int = 0
    newest: int = 0
    """The letters are those of the group up to this one; or, if `chosen` is not empty, these."""
    chosen: Sequence[int] = ()
    rate: float = 0.0
    reason: str = ""
    """Why the operator discards them."""
    undoes: str = ""
    """The batch whose discards are brought back."""
    succeeded: int = 0
    gone: int = 0
    """Those that were not there any more: another operator was quicker."""
    refused: int = 0
    is_stopped: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log: who replayed or discarded which letter."""

    action: str
    reaction: str
    letter: int = 0
    source: str = ""
    reason: str = ""
    by: str = ""
    at: str = ""
    note: str = ""
    """Why the operator did it."""
    event_id: str = ""
    """The id of the new event that an edited letter became."""
    body: str = ""
    """Its body, as the operator wrote it."""
    diff: str = ""
    """What he changed."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers of a discarded letter: with them, and the message that it is about, it can be brought back."""
    undoes: int = 0
    """Where the entry stands that this one undoes."""
    batch_id: str = ""
    batch: BatchNote | None = None

    @property
    def is_deed(self) -> bool:
        """Whether it says more than the batch that it belongs to."""
        if self.batch:
            return self.batch.state is not BatchState.GOES_ON
        return not self.batch_id or self.action == REFUSED


ALWAYS = frozenset({"action", "by", "at", "letter", "reaction", "source", "reason"})
"""What every entry has; the rest only where there is something to say."""
_ENTRY = TypeAdapter(Entry)


class OperatorLog:
    """Writes the entries of one operator."""

    def __init__(self, publisher: Publisher, by: str) -> None:
        self._publisher, self._by = publisher, by

    async def write(self, subject: str, entry: Entry, guard: Guard | None = None) -> int:
        """Write an entry on the subject of a letter or a reaction; its sequence.

        Raises:
            Refused: the guard does not hold.
            Unavailable: the broker does not store it now.
        """
        said = asdict(replace(entry, by=self._by, at=now()))
        kept = {name: value for name, value in said.items() if value or name in ALWAYS}
        message = Message(names.dead_log(subject), json.dumps(kept).encode(), {}, guard)
        return await self._publisher.record(message, limited=False)

    async def note_pause(self, reaction: str, until: datetime | None) -> None:
        """Log that a reaction was paused until then, or resumed (None)."""
        entry = Entry(RESUMED, reaction)
        if until is not None:
            words = "until it is resumed" if is_for_good(until) else f"until {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            entry = Entry(PAUSED, reaction, note=words)
        await self.write(names.dead_letter(reaction), entry)

    async def note_act(self, service: str, what: str, action: str, words: str) -> None:
        """Log what an operator did on a page that an app added, among what was done about one of its services."""
        await self.write(names.dead_letter(f"{service}.{what}"), Entry(action, f"{service}.{what}", note=words))

    async def write_batch(self, reaction: str, note: BatchNote, seen: int) -> int:
        """Log how far a batch is; `seen` is the sequence of its note before, 0 if this is the first.

        Raises:
            Refused: another console goes on with it.
            Unavailable: the broker does not store it now.
        """
        subject = names.dead_letter(f"{reaction}.{BATCH}.{note.id}")
        entry = Entry(BATCH, reaction, batch_id=note.id, batch=note)
        return await self.write(subject, entry, Guard(names.dead_log(subject), seen))


def entry_of(data: bytes) -> Entry | None:
    """An entry of the log; None if the message is no entry."""
    try:
        return _ENTRY.validate_json(data)
    except ValidationError:
        return None
