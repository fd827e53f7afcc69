"""Customers: orders at a steady rate, some again, some with cards that waver, some withdrawn; couriers come and go."""

import asyncio
import random
import time
from collections.abc import Sequence

from jetmesh.failure import Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.runtime.context import Context
from jetmesh_contracts import OrderCancellationRequested, OrderPlaced
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.domain import check
from jetmesh_shop.payments.bank import CAPTURE_FAILS, FLAKY, HOLD_EXPIRES
from jetmesh_shop.reference import mix
from jetmesh_shop.reference.couriers import Couriers
from tests.chaos.arena import MISSED_SECONDS
from tests.chaos.figures import Figures

AGAIN, WITHDRAWN = 0.05, 0.03
CARDS = {"": 90, FLAKY: 6, CAPTURE_FAILS: 2, HOLD_EXPIRES: 2}
"""In percent; the empty one: the card that the mix gave."""


def orders(seed: int, count: int) -> list[OrderPlaced]:
    """The mix of the demo, with some cards that fail later or only at first."""
    chance = random.Random(f"cards {seed}")
    cards = chance.choices(list(CARDS), list(CARDS.values()), k=count)
    plain = mix.orders(f"chaos-{seed}", count, seed)
    return [
        order.model_copy(update={"payment_method": card}) if card else order
        for order, card in zip(plain, cards, strict=True)
    ]


class Customers:
    """Who orders; each publishes until the broker has acknowledged."""

    def __init__(self, context: Context, figures: Figures, seed: int) -> None:
        self._mesh, self._figures = context, figures
        self._random = random.Random(f"customers {seed}")

    async def order_all(self, placed: Sequence[OrderPlaced], seconds: float) -> None:
        """Place the orders evenly over the time, however slow the broker is."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, order in enumerate(placed):
                await asyncio.sleep(max(0.0, began + number * seconds / len(placed) - time.monotonic()))
                group.create_task(self._order(order, seconds))

    async def _order(self, order: OrderPlaced, seconds: float) -> None:
        """One order; perhaps once more, perhaps under one `Nats-Msg-Id`, perhaps withdrawn."""
        body = order.model_dump_json().encode()
        named = {"Nats-Msg-Id": order.order_id} if self._random.random() < 0.5 else {}
        again, withdrawn = self._random.random() < AGAIN, self._random.random() < WITHDRAWN
        pause = self._random.choice((0.0, 0.05, self._random.uniform(0, seconds / 4)))
        await self._publish("orders.placed", body, named)
        self._figures.placed += 1
        self._figures.orders[order.order_id] = body
        if again:
            await asyncio.sleep(pause)
            await self._publish("orders.placed", body, named)
            self._figures.duplicates += 1
        if withdrawn and isinstance(check(order, PRICES), OrderPlaced):
            await asyncio.sleep(pause)
            request = OrderCancellationRequested(order_id=order.order_id)
            await self._publish(request.type, request.model_dump_json().encode(), {})

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        while True:
            try:
                await self._mesh.publisher.record(Message(subject, body, headers))
            except Unavailable as unavailable:
                await asyncio.sleep(unavailable.retry_after_seconds)
            else:
                return


async def come_and_go(couriers: Couriers, seed: int, seconds: float) -> None:
    """Now and then a courier ends a shift, carrying an order or not, and begins another one; or says nothing for a
    while, and then that the order is delivered, which another one may have by then."""
    chance, ends_at = random.Random(f"couriers {seed}"), time.monotonic() + seconds
    while time.monotonic() < ends_at:
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        await couriers.rest(chance.choice(couriers.names))
        silent = chance.choice(couriers.names)
        couriers.vanish(silent)
        asyncio.get_running_loop().call_later(chance.uniform(0.5, 3 * MISSED_SECONDS), couriers.come_back, silent)
