"""What a reaction to many reads before it decides: stories and levels, each remembered with the guard it implies."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from jetmesh.event import Event, EventType

State = TypeVar("State", bound="Story")
Level = TypeVar("Level", bound=Event)


class Story(Protocol):
    """What a service knows about one key: a plain fold over its own events. Made without arguments, it is empty."""

    def evolve(self, event: Any) -> Any:
        """The story with `event` added."""


class Snapshot(Protocol):
    """One consistent reading for one batch. Everything read through it becomes a guard of the commit, so that the
    commit is refused if any of it changed meanwhile; the runtime then reads and decides again."""

    async def stories(self, state: type[State], event: EventType, keys: Iterable[str]) -> Mapping[str, State]:
        """The service's own story of each key, among the events of the entity that `event` is about."""

    async def latest(self, level: type[Level], keys: Iterable[str]) -> Mapping[str, Level]:
        """The newest event of a state type for each key that has one. What was read must be recorded again with the
        batch, changed or not: a level that is only looked at is not guarded by itself."""
