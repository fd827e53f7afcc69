"""The history of a stream: since when it is, and which of its messages a restoration has undone.

A sequence says where a message stands only within one history: a stream that is removed and made anew begins again at
1, and one that is restored goes on behind its backup. So every position that is kept outside of a stream is compared
with it: what analytics has stored, what the archive holds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

BORN, RESTORED = "jetmesh.born", "jetmesh.restored"
"""In the metadata of a restored stream, and of every durable for those who may not look at the stream itself."""


class Restoration(NamedTuple):
    """A restoration: when it was, in the broker's time, and the last sequence that it kept."""

    at: float
    kept: int


@dataclass(frozen=True, slots=True)
class History:
    """One stream's; `born` is when it was made, in the broker's time."""

    born: float = 0.0
    restorations: tuple[Restoration, ...] = ()

    def holds(self, sequence: int, time: float) -> bool:
        """Whether the message that was stored there and then is part of it, or is older than the stream; False: a
        restoration has undone it."""
        undone = any(sequence > kept and self.born <= time < at for at, kept in self.restorations)
        return not undone

    def counted_from(self, time: float) -> float:
        """From when a deadline counts: nobody could keep it before the mesh was restored."""
        return max(time, self.restorations[-1].at) if self.restorations else time

    def after(self, restoration: Restoration) -> Self:
        """The history with one restoration more."""
        return type(self)(self.born, (*self.restorations, restoration))

    @property
    def metadata(self) -> dict[str, str]:
        """The same as metadata of a stream or durable."""
        return {BORN: repr(self.born), RESTORED: json.dumps(self.restorations)}


UNTOLD = History()


class Histories:
    """Those of the streams that a service reads, as its durables tell them."""

    def __init__(self) -> None:
        self._by_stream: dict[str, History] = {}

    def of(self, stream: str) -> History:
        """A stream's; of one that is told by nobody, that it was always there."""
        return self._by_stream.get(stream, UNTOLD)

    def told(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """What the durables tell now, by `stream/durable`."""
        for name, config in configs.items():
            if history := read(config.get("metadata") or {}):
                self._by_stream[name.partition("/")[0]] = history


def history_of(info: Mapping[str, Any]) -> History:
    """The history that a stream's description tells (STREAM.INFO)."""
    told = read(info["config"].get("metadata") or {})
    return told or History(born=datetime.fromisoformat(info["created"]).timestamp())


def read(metadata: Mapping[str, str]) -> History | None:
    """The history in the metadata of a stream or durable; None where there is none."""
    if BORN not in metadata:
        return None
    restorations = json.loads(metadata.get(RESTORED) or "[]")
    return History(float(metadata[BORN]), tuple(Restoration(*each) for each in restorations))
