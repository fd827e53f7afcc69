"""The handler chain: a delivery goes through `DELIVERY`, then `ATTEMPT`, to the reaction; its outcome comes back.

Each step takes the next handler and returns a handler around it. The chain of a reaction is built once, when its worker
is made, so that a step which a reaction does not need costs nothing.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, TypeVar

from jetmesh.cloudevents import Envelope, decode_envelope, read_event, undecoded
from jetmesh.common.throttled_log import kind_of
from jetmesh.event import Event
from jetmesh.failure import BrokenContract, Permanent, Unavailable, UnknownType
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.middleware import Delivery as Seen
from jetmesh.middleware import Middleware
from jetmesh.outcome import Again, Held, Outcome
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.crash_guard import last_chance
from jetmesh.runtime.failure_policy import Exhausted, FailurePolicy
from jetmesh.telemetry.spans import Attempt

T = TypeVar("T")
Handler: TypeAlias = Callable[[T], Awaitable[Outcome]]


def crash_guard(binding: Binding, then: Handler[Delivery]) -> Handler[Delivery]:
    """Runs a delivery alone if an earlier attempt may have killed the process, a few times at most."""
    context, reaction, attempts_max = binding.context, binding.reaction, binding.attempts_max

    async def alone(delivery: Delivery) -> Outcome:
        async with context.alone:
            return await last_chance(context, reaction, delivery) or await then(delivery)

    def handle(delivery: Delivery) -> Awaitable[Outcome]:
        return then(delivery) if delivery.delivered <= attempts_max else alone(delivery)

    return handle


def circuit_breaker(binding: Binding, then: Handler[Delivery]) -> Handler[Delivery]:
    """Keeps a delivery in flight while the dependency of the reaction is down, and retries it."""
    if binding.breaker is None:
        return then
    breaker, policy, in_flight = binding.breaker, FailurePolicy(binding), binding.context.in_flight

    async def handle(delivery: Delivery) -> Outcome:
        while breaker.admits() or (not delivery.shared and await breaker.admission()):
            outcome = await then(delivery)
            if not outcome.is_held:
                return outcome
        outcome = await policy.free_slot(delivery, breaker)
        answer(in_flight, delivery, outcome)
        return outcome

    return handle


def trace(binding: Binding, then: Handler[Attempt]) -> Handler[Delivery]:
    """Gives each attempt a span, a child of the message's context, with its outcome."""
    in_flight = binding.context.in_flight

    async def handle(delivery: Delivery) -> Outcome:
        if not in_flight.is_sure:
            await in_flight.certainty()
        attempt = begin(binding, delivery)
        attempt.make_current()
        outcome = await then(attempt)
        attempt.end(outcome)
        return outcome

    return handle


def settle(binding: Binding, then: Handler[Attempt]) -> Handler[Attempt]:
    """Acknowledges the delivery according to the outcome."""
    in_flight = binding.context.in_flight

    async def handle(attempt: Attempt) -> Outcome:
        outcome = await then(attempt)
        answer(in_flight, attempt.delivery, outcome)
        return outcome

    return handle


def failure_policy(binding: Binding, then: Handler[Attempt]) -> Handler[Attempt]:
    """Turns an error of an inner step into an outcome: a retry, a dead letter, or a delivery given back."""
    policy = FailurePolicy(binding)

    async def handle(attempt: Attempt) -> Outcome:
        try:
            return await then(attempt)
        except Exception as error:
            return await policy.outcome(attempt, error)

    return handle


def hold(binding: Binding, then: Handler[Attempt]) -> Handler[Attempt]:
    """Reports the end of the attempt to the circuit breaker; while that is open, the delivery is held."""
    if binding.breaker is None:
        return then
    breaker = binding.breaker

    async def handle(attempt: Attempt) -> Outcome:
        try:
            outcome = await then(attempt)
        except Exception as error:
            breaker.ended(error)
            if isinstance(error, Unavailable) and not breaker.is_closed:
                return Held(error)
            raise
        breaker.ended(None)
        return outcome

    return handle


def decode(binding: Binding, then: Handler[Attempt]) -> Handler[Attempt]:
    """Decodes the body into the event of its contract."""

    def handle(attempt: Attempt) -> Awaitable[Outcome]:
        attempt.event = event_of(binding, attempt)
        return then(attempt)

    return handle


def middlewares(binding: Binding, then: Handler[Attempt]) -> Handler[Attempt]:
    """The users' middlewares: of the app, of the service, of the reaction, in the order of their lists."""
    for middleware in reversed(binding.middlewares):
        then = _around(middleware, then)
    return then


def _around(middleware: Middleware, then: Handler[Attempt]) -> Handler[Attempt]:
    name = getattr(middleware, "__qualname__", repr(middleware))

    async def handle(attempt: Attempt) -> Outcome:
        raised: list[Exception] = []

        async def call_next(delivery: Seen) -> Outcome:
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


DELIVERY = (crash_guard, circuit_breaker)
"""The steps of a delivery, outermost first."""
ATTEMPT = (settle, failure_policy, hold, decode, middlewares)
"""The steps of each attempt, inside its span."""


def chain(binding: Binding, react: Handler[Attempt]) -> Handler[Delivery]:
    """The whole chain around `react`."""
    return _stacked(binding, DELIVERY, trace(binding, _stacked(binding, ATTEMPT, react)))


def _stacked(
    binding: Binding, steps: Iterable[Callable[[Binding, Handler[T]], Handler[T]]], then: Handler[T]
) -> Handler[T]:
    for step in reversed(tuple(steps)):
        then = step(binding, then)
    return then


def begin(binding: Binding, delivery: Delivery) -> Attempt:
    """Decode the envelope of a delivery and begin its span; the attempt holds the error if it can't be decoded."""
    fault: Permanent | None = None
    try:
        envelope = decode_envelope(delivery)
    except BrokenContract as broken:
        envelope, fault = undecoded(delivery), broken
    except Exception as surprise:
        binding.conditions.log(
            kind_of(surprise), logging.ERROR, "%s: a delivery could not be decoded",
            binding.reaction.durable, error=surprise,
        )  # fmt: skip
        envelope, fault = undecoded(delivery), BrokenContract(f"it can't be decoded: {surprise!r}")
    if fault is None and (envelope.type not in binding.types or delivery.delivered > binding.attempts_max):
        fault = _unwanted(binding, envelope)
    return Attempt(binding.telemetry, envelope, fault)


def _unwanted(binding: Binding, envelope: Envelope) -> Permanent:
    """The error if the reaction must not get this delivery although it was decoded."""
    if envelope.type not in binding.types:
        known = ", ".join(binding.types) or "nothing"
        return UnknownType(f"type: {binding.service.name} knows no {envelope.type}; it takes {known}")
    return Exhausted(f"still not handled after {envelope.delivery.delivered - 1} deliveries")


def event_of(binding: Binding, attempt: Attempt) -> Event:
    """The event of a delivery. One from outside that names no key gets a key derived from its position.

    Raises:
        Permanent: it breaks its contract, or its key differs from the subject's.
    """
    if attempt.fault is not None:
        raise attempt.fault
    envelope, form = attempt.envelope, binding.reaction.form
    event_type = binding.types[envelope.type]
    event: Event
    if form.only_outside or (form.takes_outside and not attempt.delivery.key):
        event = read_event(event_type, envelope.data, attempt.delivery.position_id)
        envelope.key = envelope.correlation_id = event.key  # a publisher outside does not choose the correlation id
        attempt.is_about(event.key)
        return event
    event = read_event(event_type, envelope.data)
    if event.key != envelope.key:
        raise Permanent(f"{event_type.key_field}: {event.key} is not the key of the subject, {envelope.key}")
    return event


def answer(in_flight: InFlight, delivery: Delivery, outcome: Outcome) -> None:
    """Answer the broker: ack, or nak with a pause; nothing while the delivery is held."""
    if outcome.error is not None and isinstance(outcome, Again) and not outcome.is_delayed:
        in_flight.nak(delivery, outcome.pause_seconds)
    elif not outcome.is_held:
        in_flight.ack(delivery)
