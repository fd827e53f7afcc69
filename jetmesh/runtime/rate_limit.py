"""The rate limit of a reaction over all its replicas, by one message in the broker: when the next delivery may begin.

It is the generic cell rate algorithm. A process with deliveries that wait takes a bundle of permits with one write,
guarded by the state that it stands on: of two processes the broker refuses one, and that one reads again. A permit
whose process ends, or whose write got no answer, is lost; none is used twice.
"""

import asyncio
import json
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, NamedTuple

from jetmesh.common import lenient
from jetmesh.common.throttled_log import Conditions, reason_of
from jetmesh.event import stream_of
from jetmesh.failure import Unavailable, growing
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.rate import Rate
from jetmesh.reaction import Reaction
from jetmesh.runtime.context import Context
from jetmesh.topology import names

log = logging.getLogger("jetmesh.rate_limit")

AHEAD_SECONDS = 1.0
"""Permits are taken for so long ahead: what a process that ends may lose, and how late the others hear of a pause."""
SOON_SECONDS = AHEAD_SECONDS / 2
"""A bundle begins with a permit that is so near: of several processes each would write for every permit else."""
CLOCKS_SECONDS = 1.0
"""By how much the processes' estimates of the broker's time may differ."""
GUEST_SECONDS = 5.0
"""How long a delivery may wait in a slot that deliveries of other reactions need as well."""
LOOK_SECONDS = 5.0
TIMER_SECONDS = 0.001
"""By how much a timer may be early."""
ASK_AGAIN_SECONDS = 0.02

Waiter = asyncio.Future[bool]


class State(NamedTuple):
    """What the replicas share, in seconds since 1970 of the broker's time, and the sequence of its message."""

    arrival: float = 0.0
    """When a delivery is due at equal intervals (the theoretical arrival time)."""
    closed_until: float = 0.0
    """None begins before: what is called asked for a pause."""
    sequence: int = 0

    @property
    def body(self) -> bytes:
        """How it is stored."""
        return json.dumps({"arrival": self.arrival, "closed_until": self.closed_until}).encode()


def state_of(stored: Sequence[Stored]) -> State:
    """The state that was read; without one, or with one that nobody here wrote, the limit begins anew."""
    if not stored:
        return State()
    said = stored[-1].document
    arrival, closed = (lenient.seconds(str(said.get(name, ""))) for name in ("arrival", "closed_until"))
    return State(arrival, closed, stored[-1].sequence)


def bundle(rate: Rate, state: State, now: float, wanted: int) -> tuple[list[float], State]:
    """The times of up to `wanted` permits, and the state after them. Without a permit the next one is too far off."""
    latest = now + AHEAD_SECONDS + rate.slack_seconds + rate.interval_seconds + CLOCKS_SECONDS
    arrival = min(state.arrival, latest)  # a later one is of a clock that was set back
    times: list[float] = []
    while len(times) < wanted:
        at = max(now, state.closed_until, arrival - rate.slack_seconds)
        if at > now + (AHEAD_SECONDS if times else SOON_SECONDS):
            break
        times.append(at)
        arrival = max(arrival, at) + rate.interval_seconds
    return times, state._replace(arrival=arrival)


class RateLimit:
    """The limit of one reaction in this process: deliveries wait for their turn in the order in which they came, first
    urgent ones, then those that come back after a failure."""

    def __init__(self, context: Context, reaction: Reaction, rate: Rate, conditions: Conditions) -> None:
        self._context, self._rate, self._conditions = context, rate, conditions
        self._reaction = reaction.durable
        self._stream = names.limits_of(stream_of(reaction.service))
        self._subject = names.limit(reaction.service, reaction.first_name)
        self._clock = context.connection.clock
        self._urgent, self._guests, self._own = (deque[Waiter]() for _ in range(3))
        self._state: State | None = None
        self._closed_until = 0.0
        self._writing = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = False
        self.passed = self.bundles = 0

    @property
    def _queues(self) -> tuple[deque[Waiter], ...]:
        """In the order in which they are let in."""
        return self._urgent, self._guests, self._own

    @property
    def waiting(self) -> int:
        """How many deliveries wait for their turn."""
        return sum(map(len, self._queues))

    @property
    def opens_in_seconds(self) -> float:
        """When the next delivery may begin, as far as this process knows; 0: at once."""
        known = self._known()
        opens = max(known.closed_until, known.arrival - self._rate.slack_seconds)
        return max(0.0, opens - self._clock.now())

    async def turn(self, *, is_guest: bool, is_urgent: bool = False) -> bool:
        """Wait until a delivery may begin; False if it must not wait here any longer. A guest is in a slot that
        deliveries of other reactions need as well."""
        if self._stopped or (is_guest and self.opens_in_seconds > GUEST_SECONDS):
            return False
        turn: Waiter = asyncio.get_running_loop().create_future()
        (self._guests if is_guest else self._urgent if is_urgent else self._own).append(turn)
        self._run("let in", self._let_in)
        return await turn

    @property
    def pause_seconds(self) -> float:
        """After how long a delivery that does not wait here comes again; 0 if another process takes it at once."""
        return 0.0 if self._stopped else self.opens_in_seconds + random.uniform(0.0, AHEAD_SECONDS)

    def close(self, seconds: float) -> None:
        """Let none begin for so long, in any process: what the reaction calls asked for it."""
        self._closed_until = max(self._closed_until, self._clock.now() + seconds)
        if not self._stopped:
            self._run("tell", self._tell)

    def stop(self) -> None:
        """The service stops: nothing waits any longer."""
        self._stopped = True
        for task in self._tasks.values():
            task.cancel()
        for queue in self._queues:
            _give_back(queue)

    def _run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._tasks:
            self._tasks[name] = task = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    def _known(self) -> State:
        state = self._state or State()
        return state._replace(closed_until=max(state.closed_until, self._closed_until))

    async def _let_in(self) -> None:
        try:
            while self.waiting:
                times = await self._take(self.waiting)
                for at in times:
                    if not await self._is_due(at):
                        break
                    self._pass()
                if not times:
                    await self._rest()
        except Exception as surprise:
            for queue in self._queues:
                for turn in queue:
                    if not turn.done():
                        turn.set_exception(surprise)
                queue.clear()

    async def _is_due(self, at: float) -> bool:
        """Wait for the time of a permit; False if the limit was closed meanwhile, and the permit is lost."""
        if (seconds := at - self._clock.now()) > 0:
            await asyncio.sleep(seconds + TIMER_SECONDS)
        return self._closed_until <= at

    def _pass(self) -> None:
        for queue in self._queues:
            while queue:
                if not (turn := queue.popleft()).done():
                    self.passed += 1
                    turn.set_result(True)
                    return

    async def _rest(self) -> None:
        """Wait until a permit may be taken. A guest does not wait so long that others miss its slot."""
        seconds = self.opens_in_seconds
        if seconds > GUEST_SECONDS:
            _give_back(self._guests)
        await asyncio.sleep(max(TIMER_SECONDS, min(seconds - SOON_SECONDS, LOOK_SECONDS)))

    async def _tell(self) -> None:
        while self._closed_until > (self._state or State()).closed_until:
            await self._take(0)

    async def _take(self, wanted: int) -> list[float]:
        """Take a bundle of permits; their times, none if the next one is too far off."""
        async with self._writing:
            for attempt in count(1):
                try:
                    return await self._try_to_take(wanted)
                except Refused:
                    self._state = None  # another process took a bundle
                    await asyncio.sleep(random.uniform(0.0, ASK_AGAIN_SECONDS * min(attempt, 10)))
                except Unavailable as trouble:
                    self._state = None
                    self._conditions.log(
                        ("limit", *reason_of(trouble)), logging.WARNING, "%s waits: its limit in %s can't be read or "
                        "written: %s", self._reaction, self._stream, trouble,
                    )  # fmt: skip
                    await self._context.connection.pause(growing(0.25, attempt, 5.0))
        raise AssertionError("it tries without an end")

    async def _try_to_take(self, wanted: int) -> list[float]:
        if self._state is None:
            self._state = state_of(await self._context.direct_get.last(self._stream, [self._subject]))
        known = self._known()
        times, after = bundle(self._rate, known, self._clock.now(), wanted)
        if times or known.closed_until > self._state.closed_until:
            guard = Guard(self._subject, known.sequence)
            sequence = await self._context.publisher.record(Message(self._subject, after.body, {}, guard))
            self._state = after._replace(sequence=sequence)
            self.bundles += 1
        return times


def _give_back(turns: deque[Waiter]) -> None:
    """Let none of these wait any longer."""
    while turns:
        if not (turn := turns.popleft()).done():
            turn.set_result(False)
