"""The orders as the HTTP edge sees them, with no mesh behind; `test_orders_port.py` holds them to the real ones."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jetmesh import Stored
from jetmesh_contracts.orders import OrderPlaced, OrderRefused
from jetmesh_shop.orders import domain
from jetmesh_shop.orders.edge.port import Placement

PRICES = {"pizza-margherita": 1150, "tiramisu": 650}


@dataclass
class InMemoryOrders:
    """What is stored is a dict, what happens is what a test says."""

    stored: dict[str, OrderPlaced | OrderRefused] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    stories: defaultdict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    cancellations: list[str] = field(default_factory=list)
    failure: Exception | None = None
    hang: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """What hangs goes on."""
        self.released.set()

    async def _reach(self) -> None:
        if self.hang:
            await self.released.wait()
        if self.failure:
            raise self.failure

    async def place(self, order: OrderPlaced) -> Placement:
        await self._reach()
        if known := self.stored.get(order.order_id):
            return Placement(known)
        outcome = self.stored[order.order_id] = self.decide(order)
        await self.happen(order.order_id, outcome.type, outcome.model_dump(mode="json"))
        return Placement(outcome, is_new=True)

    def decide(self, order: OrderPlaced) -> OrderPlaced | OrderRefused:
        """As orders decides."""
        return domain.check(order, PRICES)

    async def claim(self, idempotency_key: str, value: str) -> str:
        await self._reach()
        return self.claims.setdefault(idempotency_key, value)

    async def story(self, order_id: str) -> Sequence[Stored]:
        await self._reach()
        return tuple(self.stories.get(order_id, ()))

    async def request_cancellation(self, order_id: str) -> None:
        await self._reach()
        self.cancellations.append(order_id)

    async def happen(self, order_id: str, type: str, data: Mapping[str, Any] | None = None) -> None:
        """Orders record the event."""
        sequence, now = 1 + len(self.stories[order_id]), datetime.now(UTC).isoformat()
        self.stories[order_id].append(Stored(f"{type}.{order_id}", sequence, now, {}, json.dumps(data or {}).encode()))


class EverythingSells(InMemoryOrders):
    """A shop where every order that keeps the contract is taken: a refusal can only be the edge's own."""

    def decide(self, order: OrderPlaced) -> OrderPlaced | OrderRefused:
        return order

    async def claim(self, idempotency_key: str, value: str) -> str:
        return value
