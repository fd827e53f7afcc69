"""What every form of reaction shares: an outcome becomes a message under a guard, an error becomes a verdict."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from opentelemetry.trace import Span

from jetmesh.cloudevents import Envelope, bare, event_lines, understand
from jetmesh.common.throttled_log import Conditions, kind_of, reason_of
from jetmesh.event import Event, EventType
from jetmesh.failure import (
    BrokenContract,
    Deferred,
    Disowned,
    Permanent,
    TooLarge,
    Unavailable,
    UnknownType,
    growing,
    let_go,
    verdict,
)
from jetmesh.jetstream.delivery import Delivery, derived_id
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, CloudEvents
from jetmesh.jetstream.message import Guard, Message, Unknown
from jetmesh.jetstream.subject import subject_of
from jetmesh.outcome import Again, DeadLettered, GivenBack, Held, Later, Outcome, Retried
from jetmesh.runtime import dead_letter, delayed_redelivery
from jetmesh.runtime.circuit_breaker import CircuitBreaker
from jetmesh.runtime.context import Context
from jetmesh.runtime.stories import events_of
from jetmesh.service import Reaction, Service
from jetmesh.telemetry.logs import log_context
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.telemetry.spans import Attempt, trace_lines

log = logging.getLogger("jetmesh.reaction")

NAK_SECONDS_MAX = 2.0
"""A longer pause is a scheduled message: a delayed nak holds one of the consumer's ack-pending slots."""


class Exhausted(Permanent):
    """The attempts are used up before the reaction ran once more: its handling may have killed its process."""


class Worker:
    """One reaction at work in this process; its subclasses are the forms in which deliveries reach it."""

    def __init__(self, context: Context, service: Service, reaction: Reaction, dependencies: Any) -> None:
        self.context, self.service, self.reaction = context, service, reaction
        self.dependencies = dependencies
        self.telemetry = context.telemetry.reaction(reaction)
        self.types: dict[str, EventType] = {event.type: event for event in reaction.events}
        self.breaker: CircuitBreaker | None = None
        self.conditions = Conditions(log)
        self._own = {event.type: event for event in service.records}
        self._refusals: set[asyncio.Task[None]] = set()

    def accept(self, delivery: Delivery) -> None:
        """A delivery has arrived; must not block."""
        raise NotImplementedError

    def surprised(self, delivery: Delivery, surprise: Exception) -> None:
        """Nobody foresaw that the delivery can't be accepted: it is a dead letter, whose traceback the log has."""
        self.conditions.tell(
            kind_of(surprise), logging.ERROR, "%s: a delivery could not be accepted",
            self.reaction.durable, error=surprise,
        )  # fmt: skip
        self.refuse(delivery, BrokenContract(f"it can't be accepted: {surprise!r}"))

    def refuse(self, delivery: Delivery, why: Exception) -> None:
        """Bury what has arrived and can't even be accepted; does not block."""
        task = asyncio.ensure_future(self._refuse(delivery, why))
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)

    def pass_on(self, delivery: Delivery, reaction: str) -> None:
        """Leave what has come back to a version of the service that has the reaction; does not block."""
        task = asyncio.ensure_future(self._pass_on(delivery, reaction))
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)

    async def _pass_on(self, delivery: Delivery, reaction: str) -> None:
        why: Exception = BrokenContract(
            f"{delivery.subject[:200]}: {self.service.name} has no reaction {reaction[:80]!r}"
        )
        try:
            if await self.context.versions.leave(self.service.name, reaction, delivery, delivery.delivered - 1):
                return
        except Unavailable:
            self.context.in_flight.nak(delivery, NAK_SECONDS_MAX)
            return
        except Permanent as refused:
            why = refused
        await self._refuse(delivery, why)

    async def _refuse(self, delivery: Delivery, why: Exception) -> None:
        await self.failed(delivery, self.telemetry.attempt(bare(delivery)), why)

    def give_back(self) -> None:
        """The service stops: what has not begun goes back to the broker at once."""

    async def drained(self) -> None:
        """Returns when nothing of what was accepted is running any more."""
        raise NotImplementedError

    def open(self, delivery: Delivery) -> tuple[Envelope, Attempt, Exception | None]:
        """Understand a delivery and begin the attempt; the third is what is wrong with it already."""
        wrong: Exception | None = None
        try:
            envelope = understand(delivery)
        except BrokenContract as broken:
            envelope, wrong = bare(delivery), broken
        except Exception as surprise:
            self.conditions.tell(
                kind_of(surprise), logging.ERROR, "%s: a delivery could not be understood",
                self.reaction.durable, error=surprise,
            )  # fmt: skip
            envelope, wrong = bare(delivery), BrokenContract(f"it can't be understood: {surprise!r}")
        if envelope.type not in self.types:
            known = ", ".join(self.types) or "nothing"
            wrong = wrong or UnknownType(f"type: {self.service.name} knows no {envelope.type}; it takes {known}")
        elif self.reaction.retry.exhausted(delivery.delivered):
            wrong = wrong or Exhausted(f"still not handled after {delivery.delivered - 1} deliveries")
        return envelope, self.telemetry.attempt(envelope), wrong

    def story(self, stored: Sequence[Stored]) -> Any:
        """The reaction's fold over what this service recorded about a key."""
        return self.fold(self.reaction.story, stored) if self.reaction.story else None

    def fold(self, story: type, stored: Sequence[Stored]) -> Any:
        """The events of this service among the stored messages, folded into a story."""
        state: Any = story()
        for event in events_of(stored, self._own):
            state = state.evolve(event)
        return state

    def check(self, outcome: Any) -> Event:
        """The outcome, if the signature declares it.

        Raises:
            Permanent: it does not.
        """
        if type(outcome) in self.reaction.outcomes:
            event: Event = outcome
            return event
        declared = ", ".join(event.__name__ for event in self.reaction.outcomes) or "nothing"
        raise Permanent(
            f"{self.service.name}.{self.reaction.name} returned {type(outcome).__name__}, but declares {declared}; "
            f"it was not recorded"
        )

    def outcome_id(self, cause: Envelope, index: int = 0) -> str:
        """The id of what comes of a cause: the same at every attempt, whatever it is."""
        if cause.delivery.key:
            return derived_id(cause.id, self.reaction.durable, str(index))
        # Two publishers outside may use one id, and each means another event.
        return derived_id(cause.id, cause.type, quote(cause.key, ""), self.reaction.durable, str(index))

    def message(
        self, outcome: Event, cause: Envelope, attempt: Attempt, guard: Guard, index: int = 0
    ) -> tuple[Message, Span]:
        """The outcome as it will be recorded, with its place in the trace and its cause; and the span of recording it,
        to be ended when it is.

        Raises:
            Unknown: not before it is known whether the cause is still to be handled.
            Disowned: it is not.
        """
        if not self.context.in_flight.is_sure:
            raise Unknown("the broker was away: what is in hand may have been undone")
        if cause.delivery.reply in self.context.in_flight.orphans:
            raise Disowned("its durable is gone, and perhaps its stream")
        event_type, key = type(outcome), outcome.key
        event_id = self.outcome_id(cause, index)
        correlation = cause.correlation_id or key
        span = attempt.publish(event_type, key, event_id, correlation)
        lines = event_lines(
            event_type, key, event_id=event_id, correlation_id=correlation, causation_id=cause.id,
            more=f"{trace_lines(span.get_span_context())}{CloudEvents.BEGAN}: {cause.began}\r\n",
        )  # fmt: skip
        return Message(subject_of(event_type, key), outcome.model_dump_json().encode(), lines, guard), span

    def join(self, envelope: Envelope, attempt: Attempt, stored: Iterable[Stored]) -> None:
        """What came from outside about a key that has a story goes on in the trace that the story began in."""
        for message in stored:
            if began := parse_traceparent(message.headers.get(TRACEPARENT, ""), message.headers.get(TRACESTATE, "")):
                attempt.join(envelope, began)
                return

    async def admitted(self, delivery: Delivery) -> bool:
        """Return when the attempt may begin, at once unless what the reaction needs is down; False: it is gone from
        here, set aside or given back."""
        if self.breaker is None or self.breaker.admits():
            return True
        if not delivery.shared and await self.breaker.admission():
            return True
        await self._spare(delivery)
        return False

    def call(self, *arguments: Any) -> Awaitable[Any]:
        """What the function returns; the circuit breaker of what it needs learns how the call ended."""
        answer = self.reaction.function(*arguments)
        return self.breaker.watch(answer) if self.breaker else answer

    def done(self, delivery: Delivery, attempt: Attempt, outcome: Outcome) -> None:
        """Acknowledge a delivery, and end its attempt."""
        if self.breaker:
            self.breaker.ended(None)
        self.context.in_flight.ack(delivery)
        attempt.end(outcome)

    async def failed(self, delivery: Delivery, attempt: Attempt, error: Exception) -> bool:
        """Give back or bury a delivery, and end its attempt; True: it is kept, to be tried again when what the reaction
        needs is back."""
        if self.breaker:
            self.breaker.ended(error)
        outcome: Outcome
        if kept := isinstance(error, Unavailable) and self.breaker is not None and not self.breaker.is_closed:
            outcome = Held(error)
        else:
            outcome = await self._fail(delivery, attempt, error)
        attempt.end(outcome)
        let_go(error)
        return kept

    async def _fail(self, delivery: Delivery, attempt: Attempt, error: Exception) -> Outcome:
        """The verdict on an error, carried out; where that fails too the delivery simply comes again."""
        decided = verdict(error, self.reaction.retry, delivery.delivered)
        extra = log_context(attempt, self.reaction.durable, delivery.key)
        if delivery.reply in self.context.in_flight.orphans:
            self.context.in_flight.nak(delivery)
            return GivenBack(error, 0.0)
        try:
            if isinstance(error, UnknownType) and await self.context.versions.give_back(self.reaction, delivery):
                return GivenBack(error, 0.0)
            match decided:
                case DeadLettered(reason):
                    self.conditions.tell(
                        ("gives up", *reason_of(reason)), logging.ERROR, "%s gives up on %s: %s",
                        self.reaction.durable, delivery.subject, reason, extra=extra,
                    )  # fmt: skip
                    traceparent = attempt.headers().get(TRACEPARENT, "")
                    await dead_letter.bury(
                        self.context.publisher, self.service.name, self.reaction.name, delivery, reason, traceparent
                    )
                    self.context.in_flight.ack(delivery)
                    return decided
                case Again(_, pause):
                    known = isinstance(error, (Unavailable, Deferred)) or isinstance(decided, Later)
                    self.conditions.tell(
                        reason_of(error), logging.INFO if known else logging.WARNING, "%s: %s: %s; again in %.2f s",
                        self.reaction.durable, delivery.subject, str(error) or type(error).__name__, pause,
                        extra=extra, error=None if known else error,
                    )  # fmt: skip
                    await self._come_again(delivery, pause, blameless=isinstance(error, Unavailable))
                    return decided
        except Exception as failed:
            pause = growing(NAK_SECONDS_MAX, delivery.delivered)
            self.conditions.tell(
                ("not settled", *reason_of(failed)), logging.WARNING, "%s: %s: %s; again in %.2f s",
                self.reaction.durable, delivery.subject, failed, pause, extra=extra,
            )  # fmt: skip
            await self._put_off(delivery, pause, blameless=False)
            return Retried(error, pause)

    async def _come_again(self, delivery: Delivery, pause_seconds: float, *, blameless: bool) -> None:
        """A pause that is short is a nak, which counts as an attempt for ever. An outage must not use the attempts up:
        before they are half gone the delivery is set aside, and its count begins anew. What does not fit, with where it
        came from beside it, waits on its consumer instead."""
        if pause_seconds <= NAK_SECONDS_MAX and not (
            blameless and self.reaction.retry.exhausted(2 * delivery.delivered)
        ):
            self.context.in_flight.nak(delivery, pause_seconds)
            return
        attempts = 0 if blameless else delivery.delivered
        try:
            await delayed_redelivery.set_aside(
                self.context.publisher, self.service.name, self.reaction.name, delivery, pause_seconds, attempts
            )
        except TooLarge as too_large:
            log.info("%s: not set aside: %s", self.reaction.durable, too_large)
            self.context.in_flight.nak(delivery, pause_seconds)
        else:
            self.context.in_flight.ack(delivery)

    async def _spare(self, delivery: Delivery) -> None:
        """Free its slot, for others or because the service stops, until the circuit breaker may be closed."""
        pause = random.uniform(0.5, 1.0) * NAK_SECONDS_MAX + (self.breaker.probe_in_seconds if self.breaker else 0.0)
        await self._put_off(delivery, pause, blameless=True)

    async def _put_off(self, delivery: Delivery, pause_seconds: float, *, blameless: bool) -> None:
        """Let it come again. It stays on its consumer only where it can't be set aside: while the dead letters are
        full, those that wait for room there would hold every slot, and good ones with them."""
        try:
            await self._come_again(delivery, pause_seconds, blameless=blameless)
        except Exception as refused:
            self.context.in_flight.nak(delivery, pause_seconds)
            let_go(refused)
