"""Ten thousand orders from a button: placed at a bounded rate, watched until they have ended, stopped at any time."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from itertools import islice

from jetmesh.common.tasks import cancelled
from jetmesh.extend import ConsoleItem
from jetmesh.operate.load import drive
from jetmesh.operate.progress import endings
from jetmesh.runtime.context import Context
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.orders.service import orders as orders_service
from jetmesh_shop.reference import couriers, mix
from jetmesh_shop.reference.couriers import Couriers

MANY = 10_000
RATE = 200
"""So many a second."""
LOOK_SECONDS, PATIENCE_SECONDS = 0.5, 600.0
NAME = "orders-many"


class ManyOrders:
    """One run at a time."""

    def __init__(self, context: Context, on_duty: Couriers) -> None:
        self._context, self._on_duty = context, on_duty
        self._run: asyncio.Task[None] | None = None
        self._wanted = self._placed = self._ended = 0
        self._is_stopped = False
        self._seconds = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether orders are placed, or have not ended yet."""
        return self._run is not None and not self._run.done()

    def begin(self) -> str:
        """Begin to place them, if that is not under way."""
        if not self.is_under_way:
            self._wanted, self._placed, self._ended, self._is_stopped = MANY, 0, 0, False
            self._on_duty.be_at_least(couriers.enough_for(MANY))
            self._run = asyncio.create_task(self._place_and_watch(), name="many orders")
        return f"{MANY:,} orders come in, {RATE} a second."

    def stop(self) -> str:
        """Place no more; what was placed goes on to its end."""
        self._is_stopped = True
        return "No more orders come in; those that were placed go on to their end."

    async def end(self) -> None:
        """Leave it as it is."""
        if self._run:
            await cancelled(self._run)

    async def item(self) -> ConsoleItem:
        """How far it is, for the console."""
        is_placing = self.is_under_way and self._placed < self._wanted and not self._is_stopped
        return ConsoleItem(
            name=NAME,
            title=f"{MANY:,} orders",
            words="Nine in ten are good. When all have ended, let Books count them.",
            state=self._said(),
            progress=(min(self._ended, self._wanted), self._wanted) if self.is_under_way else None,
            actions={"stop": "Stop"} if is_placing else {} if self.is_under_way else {"begin": "Place them"},
            links={"Flow": "/mesh", "Books": "/mesh/books"},
        )

    def _said(self) -> str:
        if self._run is None:
            return "none placed yet"
        if self._run.done() and not self._run.cancelled() and (failed := self._run.exception()):
            return f"it failed: {failed}"
        how = "so far" if self.is_under_way else f"in {self._seconds:.0f} s"
        return f"{self._placed:,} placed, {self._ended:,} ended {how}"

    async def _place_and_watch(self) -> None:
        began = time.monotonic()
        async with endings(self._context, [orders_service]) as count:
            placing = asyncio.create_task(self._place())
            try:
                while not placing.done() or self._ended < self._placed:
                    await asyncio.sleep(LOOK_SECONDS)
                    self._ended = min(await count(), self._placed)
                    self._seconds = time.monotonic() - began
                    if self._seconds > PATIENCE_SECONDS:
                        return
                await placing
            finally:
                await cancelled(placing)

    async def _place(self) -> None:
        """A second's worth at a time, until all are there or nobody wants more."""
        orders = mix.orders(secrets.token_hex(3), MANY, secrets.randbits(32))
        while not self._is_stopped and (some := _next(orders)):
            await drive(self._context, some, RATE)
            self._placed += len(some)
        self._wanted = self._placed


def _next(orders: Iterator[OrderPlaced]) -> list[OrderPlaced]:
    return list(islice(orders, RATE))
