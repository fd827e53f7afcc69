"""What became of an event that was published or recorded outside of a reaction."""

from dataclasses import dataclass
from typing import TypeAlias

from jetmesh.jetstream.direct_get import Stored


@dataclass(frozen=True, slots=True)
class Taken:
    """The broker has stored it: in its owner's stream, or in the intake, for its owner to check.

    `recorded` is what the owner recorded because of it, if that was waited for; empty: not yet known.
    """

    event_id: str
    recorded: tuple[Stored, ...] = ()


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """Nothing was stored: the key has a story already. `story` is what its owner recorded about it, oldest first."""

    event_id: str
    story: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Its owner did not take it, for this reason; it is a dead letter of the owner's."""

    event_id: str
    reason: str


PublishResult: TypeAlias = Taken | AlreadyThere | NotTaken
"""What became of an event that was published from outside."""
