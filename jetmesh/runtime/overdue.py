"""What the broker owes of delayed redeliveries: it is in the stream, its time is over, and nothing came.

A broker keeps the times of what is scheduled in memory, and in a file beside the messages. It may forget one: if that
file is not of these messages, if it could not read or store a message when its time came, or if it lost its place as
leader at that moment. And what came may stay in the stream behind all that its durable has settled, where it is neither
delivered nor removed: seen after a disk was full (nats-server 2.15). So each process looks through the timers of its
service now and then, and schedules again what is owed, under a guard: of several processes one does. What comes twice
is settled, as all else.
"""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from jetmesh.common import lenient
from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Refused
from jetmesh.runtime.context import Context
from jetmesh.runtime.delayed_redelivery import due_at, schedule_again
from jetmesh.service import Service
from jetmesh.topology.names import due_subjects, timer_subjects, timers_of

log = logging.getLogger("jetmesh.timers")

LOOK_SECONDS = 20.0
OVERDUE_SECONDS = 20.0
"""How late a broker may be that has much to deliver."""
PAGE, PAGES, PAGE_BYTES = 256, 8, 1 << 20
"""What is read at one look, at most; the next one goes on behind it."""


class Overdue:
    """Looks for what is owed to one service. `settled` says up to which sequence its durable has settled all; `others`
    look for what is due by a schedule."""

    def __init__(
        self,
        context: Context,
        service: Service,
        settled: Callable[[], int],
        others: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        self._context, self._settled, self._others = context, settled, others
        self._stream, self._next = timers_of(service.stream), 1
        self._timers, self._due = timer_subjects(service.name)[:-1], due_subjects(service.name)[:-1]
        self._conditions = Conditions(log, 4 * LOOK_SECONDS)

    async def keep(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))
            try:
                await self._look()
                for look in self._others:
                    await look()
            except Unavailable as trouble:
                self._conditions.say(logging.INFO, "unread", f"what is overdue is not known: {trouble}")
            except Exception as surprise:
                self._conditions.log("surprise", logging.ERROR, "what is overdue is not known", error=surprise)

    async def _look(self) -> None:
        """Schedule again what is owed of the next messages."""
        await self._context.in_flight.certainty()
        settled = self._settled()
        for _ in range(PAGES):
            found, pending = await self._context.direct_get.page(self._stream, ">", self._next, PAGE, PAGE_BYTES)
            for message in found:
                if self._owed_since(message, settled) + OVERDUE_SECONDS < self._context.connection.clock.now():
                    await self._again(message)
            self._next = found[-1].sequence + 1 if found and pending else 1
            if not pending:
                return

    def _owed_since(self, message: Stored, settled: int) -> float:
        """Since when it is owed, in seconds since 1970; infinite for what is not."""
        if message.subject.startswith(self._timers):
            return due_at(message)
        is_left = message.subject.startswith(self._due) and message.sequence <= settled
        return lenient.moment(message.time).timestamp() if is_left else math.inf

    async def _again(self, message: Stored) -> None:
        """Schedule it again, unless it has come meanwhile, or another process was first."""
        with suppress(Refused, Permanent):
            await schedule_again(self._context.publisher, message)
            self._conditions.say(logging.WARNING, "overdue", f"the broker owed {message.subject}: scheduled again")
