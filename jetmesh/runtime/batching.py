"""The worker of batches: deliveries that arrive during a batch form the next one."""

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from jetmesh.common.throttled_log import reason_of
from jetmesh.jetstream.delivery import Delivery
from jetmesh.runtime.binding import Binding


class BatchHandler(Protocol):
    """What a form of reaction does with a batch."""

    async def size(self) -> int:
        """The most deliveries of the next batch; 0: none, and those that wait go back to the broker."""
        ...

    async def handle(self, batch: list[Delivery], queue: "Batches") -> None:
        """Work on a batch and settle each of its deliveries, or put it back into the queue."""


class Batches:
    """One batch after the other."""

    def __init__(self, binding: Binding, handler: BatchHandler) -> None:
        self.binding = binding
        self.waiting: list[Delivery] = []
        self._handler, self._in_flight = handler, binding.context.in_flight
        self._arrived, self._idle, self._enough = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._enough_is = 1
        self._idle.set()
        self._loop = asyncio.ensure_future(self._work())

    def accept(self, delivery: Delivery) -> None:
        """A delivery has arrived; does not block."""
        self.waiting.append(delivery)
        self._idle.clear()
        self._arrived.set()
        if len(self.waiting) >= self._enough_is:
            self._enough.set()

    def give_back(self) -> None:
        """Give the waiting deliveries back to the broker at once."""
        waiting, self.waiting = self.waiting, []
        for delivery in waiting:
            self._in_flight.nak(delivery)

    async def drained(self) -> None:
        """Return when no accepted delivery is running any more."""
        await self._idle.wait()
        self._loop.cancel()

    async def gather(self, count: int, seconds: float) -> None:
        """Wait until so many deliveries wait, or the time is up."""
        if len(self.waiting) >= count:
            return
        self._enough_is = count
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._enough.wait()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self.waiting:
                await self._next()
            self._idle.set()

    async def _next(self) -> None:
        size = await self._handler.size()
        if not size:
            self.give_back()
        batch, self.waiting = self.waiting[:size], self.waiting[size:]
        try:
            await self._handler.handle(batch, self)
        except Exception as error:
            # No error may end the loop: an unsettled delivery comes again.
            self.binding.conditions.log(
                reason_of(error), logging.ERROR, "%s: a batch of %d could not be settled",
                self.binding.reaction.durable, len(batch), error=error,
            )  # fmt: skip
            for delivery in batch:
                self._in_flight.nak(delivery, 1.0)
