"""The worker of batches: what comes down while a batch is handled forms the next one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import Generic, Protocol, TypeAlias, TypeVar

from jetmesh.failure import Disowned
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.outcome import GivenBack, Outcome
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.handle import Gates, How
from jetmesh.runtime.one_by_one import OneByOne

T = TypeVar("T")
OnEnd: TypeAlias = Callable[[Mapping[T, How]], Awaitable[None]]
"""Called when it is known how some of a batch ended."""
Join: TypeAlias = Callable[[RawDelivery, T], Awaitable[Outcome]]
"""What the task of a delivery waits for at the end of its way down: what became of it in a batch."""
Turn: TypeAlias = asyncio.Future[Outcome] | None
"""None: the delivery has no task."""

REST_SECONDS_MAX = 0.5
REST_PER_SECOND_OF_WORK = 20


class Joint(Protocol[T]):
    """What a form of reaction does with its deliveries; `T` is what they become on their way down."""

    batch_max: int
    """The most of a batch."""
    worthwhile: int
    """For so many a batch waits a little, under load; 0: for none."""
    gates: Gates
    """The way of a delivery that has a task."""

    def passes(self, delivery: RawDelivery) -> bool:
        """Whether nothing on its way down makes the delivery wait: it needs no task."""
        ...

    def down(self, delivery: RawDelivery) -> T:
        """Take such a delivery down.

        Raises:
            Exception: a step refused it.
        """
        ...

    @property
    def key(self) -> Callable[[T], object] | None:
        """Of all with the same key a batch has one; None: any number."""
        ...

    async def decide(self, batch: list[T], on_end: OnEnd[T]) -> None:
        """Handle a batch."""

    async def up(self, ended: Sequence[tuple[T, How]]) -> list[RawDelivery]:
        """Take up those that have no task; returns what is held."""
        ...


class Together(Generic[T]):
    """Only a delivery that may have to wait on its way has a task of its own: with one for each a batch takes an eighth
    longer."""

    def __init__(self, binding: Binding, form: Callable[[Join[T]], Joint[T]]) -> None:
        self.binding = binding
        self._form = form(self._join)
        self._alone, self._in_flight = binding.context.alone, binding.context.in_flight
        self._in_tasks = OneByOne(binding, self._form.gates)
        self._waiting: dict[RawDelivery, tuple[T, Turn]] = {}
        self._working: asyncio.Task[None] | None = None
        self._enough, self._enough_is = asyncio.Event(), 0
        self._loop, self._variables = asyncio.get_running_loop(), copy_context()

    def accept(self, delivery: RawDelivery) -> None:
        """A delivery has arrived; does not block."""
        if not self._form.passes(delivery):
            self._in_tasks.accept(delivery)
            return
        try:
            one = self._form.down(delivery)
        except Exception:
            self._in_tasks.accept(delivery)  # there it becomes known what follows the error
        else:
            self._wait(delivery, one, None)

    def give_back(self) -> None:
        """The service stops: give back what has not begun."""
        self._in_tasks.give_back()
        for delivery in [delivery for delivery, (_, turn) in self._waiting.items() if turn is None]:
            del self._waiting[delivery]
            self._in_flight.nak(delivery)

    async def drained(self) -> None:
        """Returns when nothing of what was accepted is running any more."""
        while self._working is not None:
            await asyncio.wait([self._working])
        await self._in_tasks.drained()

    async def _join(self, delivery: RawDelivery, one: T) -> Outcome:
        turn: asyncio.Future[Outcome] = self._loop.create_future()
        self._wait(delivery, one, turn)
        return await turn

    def _wait(self, delivery: RawDelivery, one: T, turn: Turn) -> None:
        self._waiting[delivery] = one, turn
        if self._working is None:
            self._working = self._loop.create_task(self._work(), context=self._variables)
        elif self._enough_is and len(self._waiting) == self._enough_is:
            self._enough.set()

    async def _work(self) -> None:
        while self._waiting:
            if self._in_flight.orphans or not self._in_flight.is_sure:
                await self._drop_disowned()
                if not self._waiting:
                    break
            began = time.monotonic()
            turns = self._next()
            on_end = partial(self._ended, turns)
            try:
                await self._form.decide(list(turns), on_end)
            except Exception as surprise:
                await on_end(dict.fromkeys(turns, surprise))
            if self._waiting and self._form.worthwhile:
                await self._gather(time.monotonic() - began)
        self._working = None

    async def _drop_disowned(self) -> None:
        """Give back what is not to be handled any more, once that is known: a new durable delivers it again if it is
        still in the stream."""
        await self._in_flight.certainty()
        gone = [delivery for delivery in self._waiting if delivery.reply in self._in_flight.orphans]
        turns = dict([self._waiting.pop(delivery) for delivery in gone])
        await self._ended(turns, dict.fromkeys(turns, GivenBack(Disowned(), 0.0)))

    def _next(self) -> dict[T, Turn]:
        """The next batch: what runs alone, or one for each key."""
        alone = self._alone.delivery
        if alone is not None and alone in self._waiting:
            return dict([self._waiting.pop(alone)])
        key_of, batch_max = self._form.key, self._form.batch_max
        if key_of is None:
            return dict([self._waiting.pop(delivery) for delivery in [*islice(self._waiting, batch_max)]])
        by_key: dict[object, RawDelivery] = {}
        for delivery, (one, _) in self._waiting.items():
            by_key.setdefault(key_of(one), delivery)
            if len(by_key) == batch_max:
                break
        return dict([self._waiting.pop(delivery) for delivery in by_key.values()])

    async def _gather(self, worked_seconds: float) -> None:
        """Wait for more: a transaction costs as much for few as for many."""
        if len(self._waiting) >= self._form.worthwhile:
            return
        self._enough_is = self._form.worthwhile
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(REST_PER_SECOND_OF_WORK * worked_seconds, REST_SECONDS_MAX)):
                await self._enough.wait()
        self._enough_is = 0

    async def _ended(self, turns: dict[T, Turn], ended: Mapping[T, How]) -> None:
        without_task = []
        for one, how in ended.items():
            turn = turns.pop(one)
            if turn is None:
                without_task.append((one, how))
            elif not turn.done():  # else its middleware waits no longer
                _end(turn, how)
        for delivery in await self._form.up(without_task) if without_task else ():
            self._in_tasks.accept(delivery)


def _end(turn: asyncio.Future[Outcome], how: How) -> None:
    if isinstance(how, Exception):
        turn.set_exception(how)
    else:
        turn.set_result(how)
