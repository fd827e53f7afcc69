"""Carries out the verdict of `jetmesh.failure` on a failed attempt: a nak, a delayed redelivery or a dead letter."""

import logging
import random

from jetmesh.common.throttled_log import reason_of
from jetmesh.failure import (
    Deferred,
    Permanent,
    TooLarge,
    Unavailable,
    UnknownType,
    growing,
    is_blameless,
    let_go,
    verdict,
)
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import TRACEPARENT
from jetmesh.outcome import Again, DeadLettered, GivenBack, Held, Later, Outcome, Retried
from jetmesh.runtime import dead_letter, delayed_redelivery
from jetmesh.runtime.binding import Binding, log
from jetmesh.runtime.circuit_breaker import CircuitBreaker
from jetmesh.runtime.rate_limit import RateLimit
from jetmesh.telemetry.logs import log_context
from jetmesh.telemetry.spans import Attempt

NAK_SECONDS_MAX = 2.0
"""A longer pause is a scheduled message: a delayed nak holds one of the consumer's ack-pending slots."""


class Exhausted(Permanent):
    """The attempts are used up before the reaction ran once more: its handling may have killed its process."""


class FailurePolicy:
    """Decides what follows an error of one reaction. It does not answer the broker: the outcome says how to."""

    def __init__(self, binding: Binding) -> None:
        self._context, self._reaction = binding.context, binding.reaction
        self._conditions = binding.conditions

    async def outcome(self, attempt: Attempt, error: Exception) -> Outcome:
        """The outcome after the error; if it can't be carried out either, the delivery comes again."""
        if await self._context.in_flight.is_disowned(attempt.delivery):
            return GivenBack(error, 0.0)
        try:
            return await self._carried_out(attempt, error)
        except Exception as failed:
            pause = growing(NAK_SECONDS_MAX, attempt.delivered)
            self._conditions.log(
                ("not settled", *reason_of(failed)), logging.WARNING, "%s: %s: %s; again in %.2f s",
                self._reaction.durable, attempt.delivery.subject, failed, pause, extra=self._pointers(attempt),
            )  # fmt: skip
            return await self._put_off(attempt.delivery, Retried(error, pause), blameless=False)

    async def free_slot(self, delivery: RawDelivery, breaker: CircuitBreaker) -> Outcome:
        """Free the slot of a delivery, for others or because the service stops, until the breaker may be closed."""
        pause = random.uniform(0.5, 1.0) * NAK_SECONDS_MAX + breaker.probe_in_seconds
        return await self._let_wait(delivery, Unavailable(breaker.reason), pause)

    async def wait_elsewhere(self, delivery: RawDelivery, limit: RateLimit) -> Outcome:
        """Free the slot of a delivery until the limit of the reaction may let it in."""
        return await self._let_wait(delivery, Unavailable("the reaction waits for its limit"), limit.pause_seconds)

    async def _let_wait(self, delivery: RawDelivery, why: Unavailable, seconds: float) -> Again:
        if await self._context.in_flight.is_disowned(delivery):
            return GivenBack(why, 0.0)
        return await self._put_off(delivery, Retried(why, seconds), blameless=True)

    async def _carried_out(self, attempt: Attempt, error: Exception) -> Outcome:
        delivery = attempt.delivery
        if isinstance(error, UnknownType):
            given_back = await self._context.versions.give_back(self._reaction, delivery, error)
            if given_back is not None:
                return given_back
        decided = verdict(error, self._reaction.retry, delivery.delivered)
        if isinstance(decided, DeadLettered):
            await self._dead_letter(attempt, error)
            return decided
        self._log(attempt, decided)
        if self._reaction.in_order:
            return await self._in_front(delivery, decided, blameless=is_blameless(error))
        return await self._come_again(delivery, decided, blameless=is_blameless(error))

    async def _in_front(self, delivery: RawDelivery, again: Again, *, blameless: bool) -> Outcome:
        """Let it come again before those behind it: by a nak, however long the pause is, since nothing else of the
        durable is delivered meanwhile. What uses up no attempt waits in this process before the attempts are gone."""
        if blameless and self._reaction.retry.exhausted(2 * delivery.delivered):
            await self._context.connection.pause(again.pause_seconds)
            return Held(again.error)
        return again

    async def _dead_letter(self, attempt: Attempt, error: Exception) -> None:
        delivery, reaction = attempt.delivery, self._reaction
        self._conditions.log(
            ("gives up", *reason_of(error)), logging.ERROR, "%s gives up on %s: %s",
            reaction.durable, delivery.subject, error, extra=self._pointers(attempt),
        )  # fmt: skip
        traceparent = attempt.trace_headers().get(TRACEPARENT, "")
        await dead_letter.store(self._context.publisher, reaction.service, reaction.name, delivery, error, traceparent)

    def _log(self, attempt: Attempt, again: Later | Retried) -> None:
        error = again.error
        is_foreseen = isinstance(error, (Unavailable, Deferred)) or isinstance(again, Later)
        self._conditions.log(
            reason_of(error), logging.INFO if is_foreseen else logging.WARNING, "%s: %s: %s; again in %.2f s",
            self._reaction.durable, attempt.delivery.subject, str(error) or type(error).__name__, again.pause_seconds,
            extra=self._pointers(attempt), error=None if is_foreseen else error,
        )  # fmt: skip

    def _pointers(self, attempt: Attempt) -> dict[str, str]:
        return log_context(attempt, self._reaction.durable, attempt.delivery.key)

    async def _come_again(self, delivery: RawDelivery, again: Again, *, blameless: bool) -> Again:
        """A short pause is a nak, which counts as an attempt for ever. An outage must not use the attempts up: before
        half of them are gone the delivery becomes a delayed redelivery, whose count starts again. A message that is too
        large for that waits on its consumer."""
        if self._stays(delivery, again, blameless=blameless):
            return again
        attempts = 0 if blameless else delivery.delivered
        try:
            await delayed_redelivery.delay(
                self._context.publisher, self._reaction.service, self._reaction.name, delivery,
                again.pause_seconds, attempts,
            )  # fmt: skip
        except TooLarge as too_large:
            log.info("%s: not delayed: %s", self._reaction.durable, too_large)
        else:
            again.is_delayed = True
        return again

    def _stays(self, delivery: RawDelivery, again: Again, *, blameless: bool) -> bool:
        """Whether it stays on its consumer: it does always where those behind it have to wait for it."""
        is_short = again.pause_seconds <= NAK_SECONDS_MAX
        is_used_up = blameless and self._reaction.retry.exhausted(2 * delivery.delivered)
        return self._reaction.in_order or (is_short and not is_used_up)

    async def _put_off(self, delivery: RawDelivery, again: Again, *, blameless: bool) -> Again:
        """Let it come again, as a delayed redelivery if possible: while DEAD_LETTERS is full, deliveries that wait for
        room there would hold every slot of the consumer."""
        try:
            return await self._come_again(delivery, again, blameless=blameless)
        except Exception as refused:
            let_go(refused)
            return again
