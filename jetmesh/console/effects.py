"""What an app did outside of the streams about a key, as its story shows it: a mail that was sent, money or goods on
hold. The app tells it, since the runtime knows none of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jetmesh.operate.key_history import StoryEvent

EFFECTS = "jetmesh.side_effects"
"""Under this an app declares its `SideEffects` (`jetmesh.app.added`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEffect:
    """One thing that was done outside of the streams. What says more than its kind, state and time is hidden from
    viewers where bodies are."""

    kind: str
    """What it is, in a word or two: `mail`, `money on hold`."""
    service: str
    at: datetime
    """When it was done; a hold has an `until` as well, once it is over."""
    until: datetime | None = None
    state: str = ""
    """How it stands: `sent`, `held`, `given back`."""
    is_open: bool = False
    """Whether something still has to follow: a hold that is neither used nor given back."""
    event: str = ""
    """The type of the event that it belongs to: the story shows it there; else by its time."""
    title: str = ""
    """What it says in a line: a mail's subject, an amount."""
    key: str = ""
    """The idempotency key under which it was done."""
    facts: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    """The text as it was sent."""


@dataclass(frozen=True, slots=True)
class KeyStory:
    """What is known about a key when its side effects are asked for."""

    key: str
    events: Sequence[StoryEvent]
    bodies: Mapping[str, Mapping[str, Any]]
    """The bodies of the events that `SideEffects.reads` names, by their types."""
    state: Path | None
    """The state folder, if the mesh runs on this machine."""

    def time_of(self, event: str) -> datetime | None:
        """When an event of this type was recorded."""
        return next((each.time for each in self.events if each.type == event), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEffects:
    """How an app tells of its side effects: a plain function, which may block, and the types of events whose bodies it
    needs. What it can't find it leaves out."""

    of: Callable[[KeyStory], Sequence[SideEffect]]
    reads: Sequence[str] = ()
