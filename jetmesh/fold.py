"""What a service remembers of a key: which types of event are in its story."""

from dataclasses import dataclass
from typing import Any, Self

from jetmesh.event import Event


@dataclass(frozen=True, slots=True)
class Fold:
    """The types of event in a story; a class derived from it remembers more, in an `evolve` of its own."""

    recorded: frozenset[type[Event]] = frozenset()

    def has(self, *events: type[Event]) -> bool:
        """Whether one of these is recorded."""
        return not self.recorded.isdisjoint(events)

    def evolve(self, event: Any) -> Self:
        """The fold after `event`."""
        return type(self)(self.recorded | {type(event)})
