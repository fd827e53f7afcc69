"""What the runner knows of a worker, whatever the form of its reaction."""

from typing import Protocol

from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.runtime.binding import Binding


class Worker(Protocol):
    """Takes the deliveries of one reaction."""

    @property
    def binding(self) -> Binding:
        """The reaction, and what it stands on."""
        ...

    def accept(self, delivery: RawDelivery) -> None:
        """A delivery has arrived; must not block."""

    def give_back(self) -> None:
        """The service stops: what has not begun goes back to the broker at once."""

    async def drained(self) -> None:
        """Returns when nothing of what was accepted is running any more."""
