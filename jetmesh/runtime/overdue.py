"""Timers that the broker owes: they are in the stream, their time is over, and nothing came.

A broker keeps the times of what is scheduled in memory, and in a file beside the messages. It may forget one: if that
file is not of these messages, if it could not read or store a message when its time came, or if it lost its place as
leader at that moment (nats-server 2.15). So each process looks through the timers of its service now and then, and
schedules again what is overdue, under a guard: of several processes one does. What comes twice is settled, as all else.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Refused
from jetmesh.runtime.context import Context
from jetmesh.runtime.delayed_redelivery import due_at, schedule_again
from jetmesh.service import Service
from jetmesh.topology.names import timer_subjects, timers_of

log = logging.getLogger("jetmesh.timers")

LOOK_SECONDS = 20.0
OVERDUE_SECONDS = 20.0
"""How late a broker may be that has much to deliver."""
PAGE, PAGES, PAGE_BYTES = 256, 8, 1 << 20
"""What is read at one look, at most; the next one goes on behind it."""


class Overdue:
    """Looks for the overdue timers of one service; `others` look for what is due by a schedule."""

    def __init__(self, context: Context, service: Service, others: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._context, self._stream, self._others = context, timers_of(service.stream), others
        self._subjects, self._next = timer_subjects(service.name), 1
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
        """Schedule again what is overdue of the next timers."""
        await self._context.in_flight.certainty()
        for _ in range(PAGES):
            found, pending = await self._context.direct_get.page(
                self._stream, self._subjects, self._next, PAGE, PAGE_BYTES
            )
            for timer in found:
                if due_at(timer) + OVERDUE_SECONDS < self._context.connection.clock.now():
                    await self._again(timer)
            self._next = found[-1].sequence + 1 if found and pending else 1
            if not pending:
                return

    async def _again(self, timer: Stored) -> None:
        """Schedule it again, unless it has come meanwhile, or another process was first."""
        with suppress(Refused, Permanent):
            await schedule_again(self._context.publisher, timer)
            self._conditions.say(logging.WARNING, "overdue", f"the broker owed {timer.subject}: scheduled again")
