"""The gates: the steps before an attempt, each made for a reaction. Their order stands in `jetmesh.runtime.handle`."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from jetmesh.failure import Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.outcome import GivenBack, Outcome, Settled
from jetmesh.reaction import Reaction
from jetmesh.runtime.answer import answer
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.circuit_breaker import CircuitBreaker
from jetmesh.runtime.crash_guard import last_chance, trust_until
from jetmesh.runtime.express import CopyState, Express
from jetmesh.runtime.failure_policy import FailurePolicy
from jetmesh.runtime.rate_limit import RateLimit

T = TypeVar("T")
Handler: TypeAlias = Callable[[T], Awaitable[Outcome]]


class Gate(Protocol):
    """A step before an attempt: a delivery may have to wait here, or go no further."""

    def is_open(self, delivery: RawDelivery) -> bool:
        """Whether the delivery passes at once."""
        ...

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Handle a delivery that does not; `then` goes on with it."""
        ...


class ExpressGate:
    """Lets the copy of an urgent delivery wait until the express durable has settled it. It is the first: a copy takes
    part in nothing else."""

    def __init__(self, binding: Binding, express: Express) -> None:
        self._express, self._in_flight = express, binding.context.in_flight

    def is_open(self, delivery: RawDelivery) -> bool:
        """Whether it is no such copy."""
        return not self._express.is_copy(delivery)

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Wait for its turn."""
        state = await self._express.state_of(delivery)
        if state is CopyState.OURS or await self._in_flight.is_disowned(delivery):
            return await then(delivery)
        why, pause = Unavailable("its express durable has it still"), self._express.pause_seconds
        outcome = Settled() if state is CopyState.SETTLED else GivenBack(why, pause)
        answer(self._in_flight, delivery, outcome)
        return outcome


class CrashGuard:
    """Runs a delivery alone if an earlier attempt may have killed the process, a few times at most."""

    def __init__(self, binding: Binding) -> None:
        self._context, self._reaction = binding.context, binding.reaction
        self._trusted_until = trust_until(binding.reaction)

    def is_open(self, delivery: RawDelivery) -> bool:
        """Whether its delivery count is below suspicion."""
        return delivery.delivered <= self._trusted_until

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Wait for its turn to run alone."""
        async with self._context.alone.run(delivery):
            return await last_chance(self._context, self._reaction, delivery) or await then(delivery)


class BreakerGate:
    """Keeps a delivery in flight while the dependency of the reaction is down."""

    def __init__(self, binding: Binding, breaker: CircuitBreaker) -> None:
        self._breaker, self._policy, self._in_flight = breaker, FailurePolicy(binding), binding.context.in_flight

    def is_open(self, _delivery: RawDelivery) -> bool:
        """Whether the circuit breaker is closed."""
        return self._breaker.is_closed

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Wait until the breaker admits it; one that must not wait here is given back."""
        if self._breaker.admits() or (not delivery.shared and await self._breaker.admission()):
            return await then(delivery)
        outcome = await self._policy.free_slot(delivery, self._breaker)
        answer(self._in_flight, delivery, outcome)
        return outcome


class Certainty:
    """Waits until it is known which deliveries are still to be handled, after the broker was away."""

    def __init__(self, binding: Binding) -> None:
        self._in_flight = binding.context.in_flight

    def is_open(self, _delivery: RawDelivery) -> bool:
        """Whether it is known."""
        return self._in_flight.is_sure

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Wait for it."""
        await self._in_flight.certainty()
        return await then(delivery)


class Concurrency:
    """Lets so many attempts run at a time in this process. The durable lets so many be in flight in all processes, but
    what comes back late comes on the lane of the service. In order there is one at a time of each stream: partitions go
    on beside one another."""

    def __init__(self, reaction: Reaction) -> None:
        self._is_in_order = reaction.in_order
        self._rooms = defaultdict[str, asyncio.Semaphore](partial(asyncio.Semaphore, reaction.in_flight_max))

    def is_open(self, _delivery: RawDelivery) -> bool:
        """Never: also one that finds room takes it."""
        return False

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Wait for room."""
        async with self._rooms[delivery.stream if self._is_in_order else ""]:
            return await then(delivery)


class LimitGate:
    """Lets as many begin as the rate limit of the reaction, over all processes."""

    def __init__(self, binding: Binding, limit: RateLimit) -> None:
        self._limit, self._policy, self._in_flight = limit, FailurePolicy(binding), binding.context.in_flight
        self._express = binding.express

    def is_open(self, _delivery: RawDelivery) -> bool:
        """Never: also one that need not wait takes a permit."""
        return False

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        """Wait for a permit; one that must not wait here is given back."""
        is_urgent = self._express is not None and self._express.is_urgent(delivery)
        if await self._limit.turn(is_guest=delivery.shared, is_urgent=is_urgent):
            return await then(delivery)
        outcome = await self._policy.wait_elsewhere(delivery, self._limit)
        answer(self._in_flight, delivery, outcome)
        return outcome


def express(binding: Binding) -> Gate | None:
    """The gate of a reaction that declares urgent types."""
    return ExpressGate(binding, binding.express) if binding.express else None


def rate_limit(binding: Binding) -> Gate | None:
    """The gate of a reaction that declares a rate limit. It is the last: a permit is for now."""
    return LimitGate(binding, binding.limit) if binding.limit else None


def concurrency(binding: Binding) -> Gate | None:
    """The gate of a reaction that declares a limit."""
    return Concurrency(binding.reaction) if binding.reaction.in_flight_max else None


def circuit_breaker(binding: Binding) -> Gate | None:
    """The gate of the circuit breaker, if the reaction has one."""
    return BreakerGate(binding, binding.breaker) if binding.breaker else None
