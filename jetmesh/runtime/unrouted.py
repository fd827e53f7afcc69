"""Deliveries that no reaction takes now: each waits for another version of the service, or for the end of a pause, or
becomes a dead letter."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from jetmesh.cloudevents import undecoded
from jetmesh.common.throttled_log import kind_of
from jetmesh.failure import BrokenContract, Permanent, TooLarge, Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.outcome import GivenBack, Outcome, Retried
from jetmesh.reaction import Reaction
from jetmesh.runtime import delayed_redelivery
from jetmesh.runtime.answer import answer
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.failure_policy import NAK_SECONDS_MAX, FailurePolicy
from jetmesh.telemetry.spans import Attempt

REST_SECONDS_MAX = 30.0
"""After so long it is looked at whether a reaction is still paused."""


class Unrouted:
    """Settles them in the name of one reaction; nothing here blocks."""

    def __init__(self, binding: Binding) -> None:
        self._binding, self._context, self._policy = binding, binding.context, FailurePolicy(binding)
        self._tasks: set[asyncio.Task[None]] = set()

    def surprised(self, delivery: RawDelivery, surprise: Exception) -> None:
        """An unexpected error when a delivery was accepted: it becomes a dead letter, and the traceback is logged."""
        self._binding.conditions.log(
            kind_of(surprise), logging.ERROR, "%s: a delivery could not be accepted",
            self._binding.reaction.durable, error=surprise,
        )  # fmt: skip
        self.refuse(delivery, BrokenContract(f"it can't be accepted: {surprise!r}"))

    def refuse(self, delivery: RawDelivery, why: Exception) -> None:
        """Store the delivery as a dead letter."""
        self._start(self._refuse(delivery, why))

    def pass_on(self, delivery: RawDelivery, reaction: str) -> None:
        """Leave a delayed redelivery to a version of the service that has its reaction."""
        self._start(self._unless_disowned(delivery, self._pass_on(delivery, reaction)))

    def rest(self, delivery: RawDelivery, reaction: Reaction, seconds: float) -> None:
        """Delay what has come back to a reaction that is paused; it counts as no attempt."""
        self._start(self._unless_disowned(delivery, self._rest(delivery, reaction, min(seconds, REST_SECONDS_MAX))))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unless_disowned(self, delivery: RawDelivery, work: Coroutine[Any, Any, None]) -> None:
        if await self._context.in_flight.is_disowned(delivery):
            work.close()
            self._context.in_flight.nak(delivery)
        else:
            await work

    async def _pass_on(self, delivery: RawDelivery, reaction: str) -> None:
        service = self._binding.service.name
        why: Permanent = BrokenContract(f"{delivery.subject[:200]}: {service} has no reaction {reaction[:80]!r}")
        left: Outcome | None = None
        try:
            left = await self._context.versions.leave(service, reaction, delivery, why, delivery.delivered - 1)
        except Unavailable as trouble:
            left = Retried(trouble, NAK_SECONDS_MAX)
        except Permanent as refused:
            why = refused
        if left:
            answer(self._context.in_flight, delivery, left)
        else:
            await self._refuse(delivery, why)

    async def _rest(self, delivery: RawDelivery, reaction: Reaction, seconds: float) -> None:
        why = Unavailable(f"{reaction.service}.{reaction.name} is paused")
        left = GivenBack(why, seconds, is_delayed=True)
        place = self._context.publisher, reaction.service, reaction.name, delivery
        try:
            await delayed_redelivery.delay(*place, seconds, delivery.delivered - 1)
        except (Unavailable, TooLarge):
            left = GivenBack(why, NAK_SECONDS_MAX)
        answer(self._context.in_flight, delivery, left)

    async def _refuse(self, delivery: RawDelivery, why: Exception) -> None:
        attempt = Attempt(self._binding.telemetry, undecoded(delivery))
        outcome = await self._policy.outcome(attempt, why)
        answer(self._context.in_flight, delivery, outcome)
        attempt.end(outcome)
