"""What a reaction to many reads before it decides: stories and levels. Each reading guards the batch."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from jetmesh.event import Event, EventType

State = TypeVar("State", bound="Foldable")
Level = TypeVar("Level", bound=Event)


class Foldable(Protocol):
    """The state that a story's events make, one after the other. Made without arguments, it is empty."""

    def evolve(self, event: Any) -> Any:
        """The state after `event`."""


class Snapshot(Protocol):
    """One consistent reading for one batch. Everything that is read through it guards the atomic batch: if any of it
    changed meanwhile, the broker refuses the batch, and the runtime reads and decides again."""

    async def stories(self, state: type[State], event: EventType, keys: Iterable[str]) -> Mapping[str, State]:
        """The fold of the service's own story of each key, among the events of the entity that `event` is about."""

    async def latest(self, level: type[Level], keys: Iterable[str]) -> Mapping[str, Level]:
        """The newest event of a state type for each key that has one. Every level that was read must be recorded again
        with the batch, changed or not: that is what guards it."""
