"""The history of a stream: when it was created, and which of its messages a restore has undone.

A sequence identifies a message only within one history: a stream that is removed and created again begins at 1, and a
restored one goes on after its backup. So every position that is kept outside of the stream (in the warehouse, in the
archive) is compared with its history.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

BORN, RESTORED = "jetmesh.born", "jetmesh.restored"
"""Metadata keys of a restored stream, and of every durable: a service may not ask for the stream itself."""


class Restoration(NamedTuple):
    """A restore: its time by the broker's clock, and the last sequence that it kept."""

    at: float
    kept: int


@dataclass(frozen=True, slots=True)
class History:
    """The history of one stream; `born` is when it was created, by the broker's clock."""

    born: float = 0.0
    restorations: tuple[Restoration, ...] = ()

    def holds(self, sequence: int, time: float) -> bool:
        """Whether no restore has undone the message that was stored there and then."""
        undone = any(sequence > kept and self.born <= time < at for at, kept in self.restorations)
        return not undone

    def counted_from(self, time: float) -> float:
        """The start of a deadline for a message of that time: not before the last restore."""
        return max(time, self.restorations[-1].at) if self.restorations else time

    def after(self, restoration: Restoration) -> Self:
        """The history with one more restore."""
        return type(self)(self.born, (*self.restorations, restoration))

    @property
    def metadata(self) -> dict[str, str]:
        """The history as metadata of a stream or durable."""
        return {BORN: repr(self.born), RESTORED: json.dumps(self.restorations)}


UNKNOWN = History()


class Histories:
    """The histories of the streams that a service reads, from the metadata of its durables."""

    def __init__(self) -> None:
        self._by_stream: dict[str, History] = {}

    def of(self, stream: str) -> History:
        """The history of a stream; an unknown one counts as always there."""
        return self._by_stream.get(stream, UNKNOWN)

    def learn(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the histories from the durables' configurations, by `stream/durable`."""
        for name, config in configs.items():
            if history := read(config.get("metadata") or {}):
                self._by_stream[name.partition("/")[0]] = history


def history_of(info: Mapping[str, Any]) -> History:
    """The history in a stream's description (STREAM.INFO)."""
    known = read(info["config"].get("metadata") or {})
    return known or History(born=datetime.fromisoformat(info["created"]).timestamp())


def read(metadata: Mapping[str, str]) -> History | None:
    """The history in the metadata of a stream or durable; None if there is none."""
    if BORN not in metadata:
        return None
    restorations = json.loads(metadata.get(RESTORED) or "[]")
    return History(float(metadata[BORN]), tuple(Restoration(*each) for each in restorations))
