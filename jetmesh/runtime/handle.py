"""The chain: the steps that every delivery goes through, down to the reaction and back up with its outcome.

Each step is made once for a reaction, when its worker is made; one that the reaction does not need is not in its chain.
A step stands in one list, and so holds for every form of reaction. Only a gate or a middleware may make a delivery
wait: where none does, a delivery that is decided in a batch needs no task of its own (`jetmesh.runtime.together`).
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeAlias, TypeVar

from jetmesh.cloudevents import Envelope, read_event, undecoded
from jetmesh.common.tasks import RAISED, error_of
from jetmesh.common.throttled_log import kind_of
from jetmesh.event import Event, id_field_of, id_of
from jetmesh.failure import BrokenContract, Disowned, Permanent, Unavailable, UnknownType, asked_seconds
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.middleware import Delivery, Middleware
from jetmesh.outcome import Held, Outcome
from jetmesh.runtime import foreign
from jetmesh.runtime.answer import answer
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.failure_policy import Exhausted, FailurePolicy
from jetmesh.runtime.gates import (
    Certainty,
    CrashGuard,
    Gate,
    Handler,
    circuit_breaker,
    concurrency,
    express,
    rate_limit,
)
from jetmesh.runtime.reminder import reminder
from jetmesh.telemetry.spans import Attempt

T = TypeVar("T")
How: TypeAlias = Outcome | Exception
"""How an attempt ended, before the failure policy has made an outcome of an error."""


def decode(binding: Binding) -> Callable[[Attempt], None]:
    """Decodes the body into the event of its contract. One from outside that names no key gets a key derived from its
    position. What breaks its contract, or has another key than its subject, is Permanent."""
    types, form = binding.types, binding.reaction.form
    if listens := binding.reaction.listens:
        return _foreign(foreign.decoder(binding.reaction, listens))

    def down(attempt: Attempt) -> None:
        if attempt.fault is not None:
            raise attempt.fault
        envelope = attempt.envelope
        event_type = types[envelope.type]
        if form.only_outside or (form.takes_outside and not attempt.delivery.key):
            _begun_outside(attempt, read_event(event_type, envelope.data, attempt.delivery.position_id))
            return
        event: Event
        attempt.event = event = read_event(event_type, envelope.data)
        if event.key != envelope.key:
            raise Permanent(f"{event_type.key_field}: {event.key} is not the key of the subject, {envelope.key}")
        if attempt.delivery.occurrence and (occurrence := id_of(event)) not in ("", attempt.delivery.occurrence):
            raise Permanent(
                f"{id_field_of(event_type)}: {occurrence} is not the id in the subject, {attempt.delivery.occurrence}"
            )

    return down


def _foreign(made: Callable[[RawDelivery], Event]) -> Callable[[Attempt], None]:
    def down(attempt: Attempt) -> None:
        if attempt.fault is not None:
            raise attempt.fault
        _begun_outside(attempt, made(attempt.delivery))

    return down


def _begun_outside(attempt: Attempt, event: Event) -> None:
    """The key is the event's, and a publisher outside does not choose the correlation id."""
    attempt.event, envelope = event, attempt.envelope
    envelope.key = envelope.correlation_id = event.key
    attempt.is_about(event.key)


def middlewares(binding: Binding, then: Handler[Attempt]) -> Handler[Attempt]:
    """The users' middlewares: of the app, of the service, of the reaction, in the order of their lists."""
    for middleware in reversed(binding.middlewares):
        then = _around(middleware, then)
    return then


def _around(middleware: Middleware, then: Handler[Attempt]) -> Handler[Attempt]:
    name = getattr(middleware, "__qualname__", repr(middleware))

    async def handle(attempt: Attempt) -> Outcome:
        raised: list[Exception] = []

        async def call_next(delivery: Delivery) -> Outcome:
            if delivery is not attempt:
                raise Permanent(
                    f"the middleware {name} passed {delivery!r} to `call_next`: pass the delivery that it got"
                )
            try:
                return await then(attempt)
            except Exception as error:
                raised.append(error)
                raise

        try:
            outcome = await middleware(attempt, call_next)
        except Exception as error:
            if not any(error is one for one in raised):
                error.add_note(f"raised by the middleware {name}")
            raise
        finally:
            raised.clear()  # otherwise the error would keep this frame alive
        if not isinstance(outcome, Outcome):
            raise Permanent(f"the middleware {name} returned {outcome!r}: return what `call_next` returned")
        return outcome

    return handle


def hold(binding: Binding) -> Callable[[Attempt, How], How] | None:
    """Reports the end of the attempt to the circuit breaker; while that is open, the delivery is held."""
    breaker = binding.breaker
    if breaker is None:
        return None

    def up(_attempt: Attempt, how: How) -> How:
        error = how if isinstance(how, Exception) else None
        breaker.ended(error)
        return Held(error) if isinstance(error, Unavailable) and not breaker.is_closed else how

    return up


def close_limit(binding: Binding) -> Callable[[Attempt, How], How] | None:
    """Closes the rate limit, in all processes, for as long as what the reaction called asked for."""
    limit = binding.limit
    if limit is None:
        return None

    def up(_attempt: Attempt, how: How) -> How:
        seconds = asked_seconds(how) if isinstance(how, Exception) else None
        if seconds is not None:
            limit.close(seconds)
        return how

    return up


def settle(binding: Binding) -> Callable[[Attempt, Outcome], None]:
    """Acknowledges the delivery according to the outcome."""
    in_flight = binding.context.in_flight

    def up(attempt: Attempt, outcome: Outcome) -> None:
        if outcome.error is None:
            in_flight.ack(attempt.delivery)
        else:
            answer(in_flight, attempt.delivery, outcome)

    return up


def trace(_binding: Binding) -> Callable[[Attempt, Outcome], None]:
    """Ends the span of the attempt with its outcome."""
    return Attempt.end


GATES: tuple[Callable[[Binding], Gate | None], ...] = (
    express, CrashGuard, reminder, circuit_breaker, Certainty, concurrency, rate_limit,
)  # fmt: skip
"""Before an attempt begins, outermost first."""
DOWN: tuple[Callable[[Binding], Callable[[Attempt], None] | None], ...] = (decode,)
"""Inside its span; then come the users' middlewares, then the reaction."""
UP: tuple[Callable[[Binding], Callable[[Attempt, How], How] | None], ...] = (hold, close_limit)
"""What the reaction, or a step before it, returned or raised; then the failure policy makes an outcome of an error."""
SETTLED: tuple[Callable[[Binding], Callable[[Attempt, Outcome], None] | None], ...] = (settle, trace)
"""With the outcome."""


class Gates:
    """The gates of one reaction; `then` goes on with a delivery."""

    def __init__(self, binding: Binding, then: Handler[RawDelivery]) -> None:
        gates = _made(GATES, binding)
        self._open = [gate.is_open for gate in gates]
        self._then = self._gated = then
        for gate in reversed(gates):
            self._gated = partial(_through, gate, self._gated)

    async def handle(self, delivery: RawDelivery) -> Outcome:
        """Handle a delivery; one that is held goes through the gates again."""
        handle = self._then
        while True:
            for is_open in self._open:
                if not is_open(delivery):
                    handle = self._gated
            outcome = await handle(delivery)
            if not outcome.is_held:
                return outcome

    def is_open(self, delivery: RawDelivery) -> bool:
        """Whether the delivery passes every gate at once."""
        for is_open in self._open:  # noqa: SIM110  (a generator costs three calls more)
            if not is_open(delivery):
                return False
        return True


class Chain:
    """All steps around one reaction; `react` decides about an attempt."""

    def __init__(self, binding: Binding, react: Handler[Attempt]) -> None:
        self._binding, self._policy = binding, FailurePolicy(binding)
        self._down, self._up, self._settled = _made(DOWN, binding), _made(UP, binding), _made(SETTLED, binding)
        self._react = middlewares(binding, react)
        self.gates = Gates(binding, self._attempt)

    def down(self, delivery: RawDelivery) -> Attempt:
        """Begin an attempt and take it down to the middlewares.

        Raises:
            Exception: a step refused it.
        """
        attempt = begin(self._binding, delivery)
        for step in self._down:
            step(attempt)
        return attempt

    async def up(self, attempt: Attempt, how: How) -> Outcome:
        """Take an attempt up from the reaction."""
        for step in self._up:
            how = step(attempt, how)
        outcome = await self._policy.outcome(attempt, how) if isinstance(how, Exception) else how
        for settled in self._settled:
            settled(attempt, outcome)
        return outcome

    async def _attempt(self, delivery: RawDelivery) -> Outcome:
        attempt = begin(self._binding, delivery)
        attempt.make_current()
        try:
            for step in self._down:
                step(attempt)
            outcome = await self._react(attempt)
        except RAISED as raised:
            return await self.up(attempt, error_of(raised))
        return await self.up(attempt, outcome)


def _made(steps: tuple[Callable[[Binding], T | None], ...], binding: Binding) -> list[T]:
    return [step for make in steps if (step := make(binding)) is not None]


async def _through(gate: Gate, then: Handler[RawDelivery], delivery: RawDelivery) -> Outcome:
    return await (then(delivery) if gate.is_open(delivery) else gate.handle(delivery, then))


def begin(binding: Binding, delivery: RawDelivery) -> Attempt:
    """Decode the envelope of a delivery and begin its span; the attempt holds the error if it is not to be made."""
    fault: Exception | None = None
    try:
        envelope = binding.envelope_of(delivery)
    except BrokenContract as broken:
        envelope, fault = undecoded(delivery), broken
    except Exception as surprise:
        binding.conditions.log(
            kind_of(surprise), logging.ERROR, "%s: a delivery could not be decoded",
            binding.reaction.durable, error=surprise,
        )  # fmt: skip
        envelope, fault = undecoded(delivery), BrokenContract(f"it can't be decoded: {surprise!r}")
    if delivery.reply in binding.context.in_flight.orphans:
        fault = Disowned()
    elif fault is None and (envelope.type not in binding.types or delivery.delivered > binding.attempts_max):
        fault = _unwanted(binding, envelope)
    return Attempt(binding.telemetry, envelope, fault)


def _unwanted(binding: Binding, envelope: Envelope) -> Permanent:
    """The error if the reaction must not get this delivery although it was decoded."""
    if envelope.type not in binding.types:
        known = ", ".join(binding.types) or "nothing"
        return UnknownType(f"type: {binding.service.name} knows no {envelope.type}; it takes {known}")
    return Exhausted(f"still not handled after {envelope.delivery.delivered - 1} deliveries")
