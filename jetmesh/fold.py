"""What a service remembers of a key: the newest event of each type in its story."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, cast

from jetmesh.event import Event

AnyEvent = TypeVar("AnyEvent", bound=Event)


@dataclass(frozen=True, slots=True)
class Fold:
    """The newest event of each type in a story; a class derived from it says what they mean."""

    recorded: Mapping[type[Event], Event] = field(default_factory=dict)

    def has(self, *events: type[Event]) -> bool:
        """Whether one of these is recorded."""
        return any(event in self.recorded for event in events)

    def get(self, event: type[AnyEvent]) -> AnyEvent | None:
        """The newest event of this type; None where there is none."""
        return cast("AnyEvent | None", self.recorded.get(event))

    def evolve(self, event: Any) -> Self:
        """The fold after `event`."""
        return type(self)({**self.recorded, type(event): event})
