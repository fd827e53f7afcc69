"""The circuit breaker of a dependency: it opens after failures in a row, pulling pauses, single deliveries probe.

An outage costs a delivery no attempts: what is in flight waits in the process until the breaker closes. (MassTransit
calls a breaker that pauses the consumer a kill switch.)
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Iterable
from enum import Enum
from typing import Any

from jetmesh.failure import BrokerUnavailable, Deferred, Unavailable, growing
from jetmesh.jetstream.pull import Pull

log = logging.getLogger("jetmesh.circuit_breaker")

FAILURES = 5
"""Failures in a row, without a success in between, that open a breaker."""
PATIENCE_SECONDS = 0.25
"""How long they must last: under load the failures of a few bad orders can come together."""
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 10.0


class BreakerState(Enum):
    """Closed: all may pass. Open: none. Half-open: one at a time, to find out."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


class CircuitBreaker:
    """Watches the calls of a service's reactions to one dependency, and stops the pulling while it is down.

    `pauses` puts a pull under the breaker. A call that raises Unavailable is a failure; one that returns or raises
    Deferred is a success; any other error, such as a broker that is away, counts as neither.
    """

    def __init__(
        self,
        service: str,
        needs: str,
        *,
        first_seconds: float = FIRST_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.service, self.needs = service, needs
        self.state = BreakerState.CLOSED
        self.reason = ""
        self.openings = 0
        self._first_seconds, self._patience_seconds = first_seconds, patience_seconds
        self._failures = 0
        self._failing_since = 0.0
        self._probes = 0
        self._prober: asyncio.Task[Any] | None = None
        self._stopped = False
        self._waiting: deque[tuple[asyncio.Task[Any] | None, asyncio.Future[bool]]] = deque()
        self._pulls: list[tuple[Pull, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._probe_at = 0.0

    def pauses(self, pull: Pull, slots: int) -> None:
        """Let the breaker pause this pull, whose usual slots are `slots`."""
        self._pulls.append((pull, slots))

    @property
    def is_closed(self) -> bool:
        """Whether everything may pass."""
        return self.state is BreakerState.CLOSED

    @property
    def probe_in_seconds(self) -> float:
        """Seconds until the next probe; 0 if none is planned."""
        return max(0.0, self._probe_at - asyncio.get_running_loop().time()) if self.state is BreakerState.OPEN else 0.0

    def admits(self) -> bool:
        """Whether a delivery may begin now: all while it is closed, one at a time while it is half-open."""
        if self.is_closed:
            return True
        if self._stopped or self.state is BreakerState.OPEN or self._prober not in (None, asyncio.current_task()):
            return False
        self._prober = asyncio.current_task()
        return True

    async def admission(self) -> bool:
        """Wait until a delivery may begin; False if the service stops."""
        if self.admits():
            return True
        if self._stopped:
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((asyncio.current_task(), turn))
        return await turn

    async def watch(self, call: Awaitable[Any]) -> Any:
        """The outcome of a reaction's call; the breaker learns how it ended."""
        try:
            outcome = await call
        except BrokerUnavailable:
            raise
        except Unavailable as error:
            self._failed(error)
            raise
        except Deferred:
            self._succeeded()
            raise
        if outcome is not None:
            self._succeeded()
        return outcome

    def ended(self, error: BaseException | None) -> None:
        """The current task's attempt has ended. A failed probe starts another pause; a probe that made no call (its
        delivery was settled) lets the next one try."""
        if self._prober is None or self._prober is not asyncio.current_task():
            return
        self._prober = None
        if self.state is not BreakerState.HALF_OPEN:
            return
        if isinstance(error, Unavailable):
            self._open()
        else:
            self._probe()

    def stop(self) -> None:
        """The service stops: admit no delivery any more, and leave the pulls alone."""
        self._stopped = True
        if self._timer:
            self._timer.cancel()
        self._pulls.clear()
        while self._waiting:
            self._admit(admitted=False)

    def _failed(self, error: Unavailable) -> None:
        now = asyncio.get_running_loop().time()
        self.reason = f"{type(error).__name__}: {error}"
        self._failing_since = self._failing_since or now
        self._failures += 1
        is_long = now - self._failing_since >= self._patience_seconds
        if self.is_closed and self._failures >= FAILURES and is_long:
            self.openings += 1
            self._open()

    def _succeeded(self) -> None:
        self._failures, self._failing_since = 0, 0.0
        if self.is_closed:
            return
        self._change(BreakerState.CLOSED, logging.INFO, f"{self.needs} answers again: pulling resumes")
        self.reason, self._probes = "", 0
        if self._timer:
            self._timer.cancel()
        for pull, slots in self._pulls:
            pull.resume(slots)
        while self._waiting:
            self._admit()

    def _open(self) -> None:
        """Pause, and plan the probe."""
        self._probes += 1
        pause = growing(self._first_seconds, self._probes, LONGEST_SECONDS)
        level = logging.WARNING if self.is_closed else logging.INFO
        self._change(BreakerState.OPEN, level, f"{self.reason}; pulling pauses, a probe follows in {pause:.1f} s")
        for pull, _ in self._pulls:
            pull.pause()
        if not self._stopped:
            loop = asyncio.get_running_loop()
            self._probe_at = loop.time() + pause
            self._timer = loop.call_at(self._probe_at, self._half_open)

    def _half_open(self) -> None:
        self._change(BreakerState.HALF_OPEN, logging.DEBUG, f"one delivery finds out whether {self.needs} answers")
        self._probe()

    def _probe(self) -> None:
        """Admit one waiting delivery, and let the pulls fetch one more: the next probe is another delivery, because the
        fault may be this delivery's and not the dependency's."""
        if not self._waiting:
            for pull, _ in self._pulls:
                pull.resume(1)
            return
        self._prober = self._admit()
        for pull, slots in self._pulls:
            pull.fetch_one(slots)

    def _admit(self, *, admitted: bool = True) -> "asyncio.Task[Any] | None":
        """Admit the delivery that has waited longest."""
        task, turn = self._waiting.popleft()
        if not turn.done():
            turn.set_result(admitted)
        return task

    def _change(self, state: BreakerState, level: int, words: str) -> None:
        self.state = state
        log.log(level, "%s: the circuit breaker of %s is %s: %s", self.service, self.needs, state, words)


class CircuitBreakers(dict[str, CircuitBreaker]):
    """The circuit breakers of one service, by what its reactions need."""

    def notes(self) -> dict[str, str]:
        """Each breaker that is not closed, with its state and reason; they don't make the service unready."""
        return {name: f"{breaker.state}: {breaker.reason}" for name, breaker in self.items() if not breaker.is_closed}


def breakers(service: str, needs: Iterable[str]) -> CircuitBreakers:
    """One breaker for each of `needs`."""
    return CircuitBreakers({name: CircuitBreaker(service, name) for name in sorted(set(needs))})
