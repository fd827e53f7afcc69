"""The worker that handles one delivery at a time, each in a task of its own."""

import asyncio
from collections import deque

from jetmesh.failure import let_go
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.runtime.binding import Binding, log
from jetmesh.runtime.broker_crash import PAUSE_SECONDS, Doubt
from jetmesh.runtime.failure_policy import NAK_SECONDS_MAX
from jetmesh.runtime.handle import Gates


class OneByOne:
    """Sends each delivery to the gates."""

    def __init__(self, binding: Binding, gates: Gates, doubt: Doubt | None = None) -> None:
        self.binding = binding
        self._handle, self._doubt = gates.handle, doubt
        self._in_flight = binding.context.in_flight
        self._running: dict[RawDelivery, asyncio.Task[None]] = {}
        self._again: deque[RawDelivery] = deque()
        self._beginning: asyncio.Task[None] | None = None
        self._spawn = asyncio.get_running_loop().create_task

    def accept(self, delivery: RawDelivery) -> None:
        """A delivery has arrived; does not block."""
        if self._doubt and self._doubt.until and self._doubt.puts_off(delivery, self.binding.reaction.retry):
            self._in_flight.nak(delivery, PAUSE_SECONDS)
            return
        if delivery.delivered == 1:
            self._running[delivery] = self._spawn(self._run(delivery))
            return
        self._again.append(delivery)
        if self._beginning is None:
            self._beginning = self._spawn(self._begin_again())

    def give_back(self) -> None:
        """The service stops: give back what has not begun."""
        while self._again:
            self._in_flight.nak(self._again.popleft())

    async def drained(self) -> None:
        """Returns when nothing of what was accepted is running any more."""
        while tasks := [*self._running.values(), *([self._beginning] if self._beginning else [])]:
            await asyncio.wait(tasks)

    async def _begin_again(self) -> None:
        """Start one redelivery in each pass of the event loop: a thousand that fail again must not hold up new ones."""
        while self._again:
            delivery = self._again.popleft()
            self._running[delivery] = self._spawn(self._run(delivery))
            await asyncio.sleep(0)
        self._beginning = None

    async def _run(self, delivery: RawDelivery) -> None:
        try:
            await self._handle(delivery)
        except Exception as surprise:
            self.surprised(delivery, surprise)
        finally:
            self._running.pop(delivery, None)

    def surprised(self, delivery: RawDelivery, surprise: Exception) -> None:
        """After any error the delivery must not stay in flight: it comes again until its attempts are used up."""
        log.error("%s: a delivery could not be settled", self.binding.reaction.durable, exc_info=surprise)
        let_go(surprise)
        self._in_flight.nak(delivery, NAK_SECONDS_MAX)
