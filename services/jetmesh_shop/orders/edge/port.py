"""What the HTTP edge needs of the mesh."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jetmesh import Stored
from jetmesh_contracts import OrderPlaced, OrderRefused


class Placement(NamedTuple):
    """What is recorded under the id of an order, None if nobody can read it; and whether this order was the first."""

    recorded: OrderPlaced | OrderRefused | None
    is_new: bool = False


class Orders(Protocol):
    """The orders as the edge sees them. Each method may raise `jetmesh.Unavailable` (asking again is safe) and may
    be cancelled at any await."""

    async def place(self, order: OrderPlaced) -> Placement:
        """Record the order, or its refusal, under the guard of its id; answers only what is stored. May raise
        `jetmesh.TooLarge`."""
        ...

    async def claim(self, idempotency_key: str, value: str) -> str:
        """Take the key for this value; the first taker wins for 24 hours. Answers the value that it stands for."""
        ...

    async def story(self, order_id: str) -> Sequence[Stored]:
        """The events that orders recorded about the order, oldest first; empty for an unknown order."""
        ...

    async def request_cancellation(self, order_id: str) -> None:
        """Record that the customer wants the order cancelled; asking twice is asking once."""
        ...
