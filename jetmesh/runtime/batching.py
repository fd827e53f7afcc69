"""Reactions that take whatever waits: deliveries gather while a batch is worked on, and are the next one."""

import asyncio
import logging
from typing import Any

from jetmesh.common.throttled_log import reason_of
from jetmesh.jetstream.delivery import Delivery
from jetmesh.runtime.worker import Worker


class Batching(Worker):
    """One batch after the other; its subclasses say how large one may be and what is done with it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.waiting: list[Delivery] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.ensure_future(self._work())

    async def batch_max(self) -> int:
        """How many deliveries the next batch may have; 0: none, and what waits goes back."""
        raise NotImplementedError

    async def handle(self, batch: list[Delivery]) -> None:
        """Work on a batch and settle each of its deliveries."""
        raise NotImplementedError

    def accept(self, delivery: Delivery) -> None:
        self.waiting.append(delivery)
        self._idle.clear()
        self._arrived.set()

    def give_back(self) -> None:
        waiting, self.waiting = self.waiting, []
        for delivery in waiting:
            self.context.in_flight.nak(delivery)

    async def drained(self) -> None:
        await self._idle.wait()
        self._loop.cancel()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self.waiting:
                await self._next()
            self._idle.set()

    async def _next(self) -> None:
        size = await self.batch_max()
        if not size:
            self.give_back()
        batch, self.waiting = self.waiting[:size], self.waiting[size:]
        try:
            await self.handle(batch)
        except Exception as error:
            # Nothing may end the loop: what is not settled yet comes again.
            self.conditions.tell(
                reason_of(error), logging.ERROR, "%s: a batch of %d could not be settled",
                self.reaction.durable, len(batch), error=error,
            )  # fmt: skip
            for delivery in batch:
                self.context.in_flight.nak(delivery, 1.0)
