"""What a service remembers of a key: which types of event it has recorded."""

from dataclasses import dataclass
from typing import Self

from jetmesh_contracts import Event


@dataclass(frozen=True, slots=True)
class Fold:
    """The types of event in a story."""

    recorded: frozenset[type[Event]] = frozenset()

    def has(self, *events: type[Event]) -> bool:
        """Whether one of these is recorded."""
        return not self.recorded.isdisjoint(events)

    def evolve(self, event: Event) -> Self:
        """The fold after `event`."""
        return type(self)(self.recorded | {type(event)})
