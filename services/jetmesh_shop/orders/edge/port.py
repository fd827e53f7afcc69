"""What the HTTP edge needs of the mesh, and the answers that it may get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from jetmesh_contracts.orders import OrderPlaced


@dataclass(frozen=True, slots=True)
class Placed:
    """The order was new; `orders.placed` is stored."""


@dataclass(frozen=True, slots=True)
class AlreadyPlaced:
    """The same order with the same contents was stored before."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """An order of this id with other contents was stored before."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The order can't be taken; `orders.refused` is stored with this reason."""

    reason: str
    detail: str


Placement = Placed | AlreadyPlaced | Conflict | Refused


@dataclass(frozen=True, slots=True)
class Claim:
    """Which order an Idempotency-Key stands for, and the digest of that order's contents."""

    idempotency_key: str
    fingerprint: str
    order_id: str


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """One event that orders recorded about an order; `sequence` is its place in their stream, the data are JSON."""

    type: str
    time: datetime
    sequence: int
    data: Mapping[str, Any]


class Orders(Protocol):
    """The orders as the edge sees them. Each method may raise `jetmesh.Unavailable` (asking again is safe) and may
    be cancelled at any await."""

    async def place(self, order: OrderPlaced) -> Placement:
        """Record the order, or its refusal, under the guard of its id; answers only what is stored. May raise
        `jetmesh.TooLarge`."""
        ...

    async def claim(self, claim: Claim) -> Claim:
        """Take the key for this order; the first taker wins for 24 hours. Answers the claim that holds."""
        ...

    async def story(self, order_id: str) -> Sequence[StoryEvent]:
        """The events that orders recorded about the order, oldest first; empty for an unknown order."""
        ...

    async def request_cancellation(self, order_id: str) -> None:
        """Record that the customer wants the order cancelled; asking twice is asking once."""
        ...
