"""The worker of a reaction to many: what arrives while a batch is decided forms the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import TypeAlias

from jetmesh.event import id_of, is_occurrence
from jetmesh.jetstream.delivery import Delivery
from jetmesh.outcome import Outcome
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.handle import Chain, How
from jetmesh.runtime.one_by_one import OneByOne
from jetmesh.telemetry.spans import Attempt

OnEnd: TypeAlias = Callable[[Attempt, How], Awaitable[None]]
"""Called once for each attempt of a batch, when it is known how it ended."""
Decide: TypeAlias = Callable[[list[Attempt], OnEnd], Awaitable[None]]
Turn: TypeAlias = asyncio.Future[Outcome] | None
"""What the task of an attempt waits for; None: it has no task."""

ATTEMPTS_MAX = 256


class Together:
    """Every delivery goes down its chain, and those at the end of it are decided together.

    Only a delivery that may have to wait on its way has a task of its own: with one for each a batch takes an eighth
    longer.
    """

    def __init__(self, binding: Binding, decide: Decide) -> None:
        self.binding = binding
        self._decide, self._alone, self._in_flight = decide, binding.context.alone, binding.context.in_flight
        self._chain = Chain(binding, self._join)
        self._occurs = any(map(is_occurrence, binding.reaction.events))
        self._in_tasks = OneByOne(binding, self._chain)
        self._waiting: dict[Attempt, Turn] = {}
        self._deciding: asyncio.Task[None] | None = None
        self._loop, self._variables = asyncio.get_running_loop(), copy_context()

    def accept(self, delivery: Delivery) -> None:
        """A delivery has arrived; does not block."""
        if self.binding.middlewares or not self._chain.is_open(delivery):
            self._in_tasks.accept(delivery)
            return
        try:
            attempt = self._chain.down(delivery)
        except Exception:
            self._in_tasks.accept(delivery)  # its chain says what becomes of the error
        else:
            self._wait(attempt, None)

    def give_back(self) -> None:
        """The service stops: give back what has not begun."""
        self._in_tasks.give_back()
        for attempt in [attempt for attempt, turn in self._waiting.items() if turn is None]:
            del self._waiting[attempt]
            self._in_flight.nak(attempt.delivery)

    async def drained(self) -> None:
        """Returns when nothing of what was accepted is running any more."""
        while self._deciding is not None:
            await asyncio.wait([self._deciding])
        await self._in_tasks.drained()

    async def _join(self, attempt: Attempt) -> Outcome:
        """Wait until a batch with this attempt is decided; what became of it."""
        turn: asyncio.Future[Outcome] = self._loop.create_future()
        self._wait(attempt, turn)
        return await turn

    def _wait(self, attempt: Attempt, turn: Turn) -> None:
        self._waiting[attempt] = turn
        if self._deciding is None:
            self._deciding = self._loop.create_task(self._decide_all(), context=self._variables)

    async def _decide_all(self) -> None:
        while self._waiting:
            turns = self._next()
            on_end = partial(self._tell, turns)
            try:
                await self._decide(list(turns), on_end)
            except Exception as surprise:
                for attempt in list(turns):
                    await on_end(attempt, surprise)
        self._deciding = None

    def _next(self) -> dict[Attempt, Turn]:
        """The next batch: what runs alone, or one attempt for each key. The wildcard guards of one key do not see each
        other inside a batch. Occurrences stand for themselves: of one key there may be many."""
        suspect = self._alone.delivery
        by_key: dict[object, Attempt] = {}
        for attempt in self._waiting:
            if attempt.delivery is suspect:
                return {attempt: self._waiting.pop(attempt)}
            if len(by_key) < ATTEMPTS_MAX:
                by_key.setdefault(_told_apart(attempt) if self._occurs else attempt.envelope.key, attempt)
        return {attempt: self._waiting.pop(attempt) for attempt in by_key.values()}

    async def _tell(self, turns: dict[Attempt, Turn], attempt: Attempt, how: How) -> None:
        turn = turns.pop(attempt)
        if turn is None:
            await self._up(attempt, how)
        elif turn.done():  # its middleware waits no longer
            return
        elif isinstance(how, Exception):
            turn.set_exception(how)
        else:
            turn.set_result(how)

    async def _up(self, attempt: Attempt, how: How) -> None:
        try:
            outcome = await self._chain.up(attempt, how)
        except Exception as surprise:
            self._in_tasks.surprised(attempt.delivery, surprise)
        else:
            if outcome.is_held:
                self._in_tasks.accept(attempt.delivery)


def _told_apart(attempt: Attempt) -> object:
    """What one batch takes once: the key, or an occurrence of it."""
    if not is_occurrence(type(attempt.event)):
        return attempt.envelope.key
    return attempt.envelope.key, attempt.delivery.occurrence or id_of(attempt.event) or attempt.delivery.sequence
