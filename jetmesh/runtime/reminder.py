"""Reactions whose event says when: a delivery waits as a timer until the time in a field of its event.

It holds no slot meanwhile. When it is due, and this service's part of the story is over, it is settled.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

from jetmesh.cloudevents import decode_envelope, read_event
from jetmesh.event import entity_of
from jetmesh.failure import BrokenContract, Disowned, TooLarge, Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.subject import story_subject
from jetmesh.outcome import Nothing, Outcome, Retried, Settled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.delayed_redelivery import delay
from jetmesh.runtime.stories import has_ended

AGAIN_SECONDS = 1.0
TOO_LARGE_SECONDS = 3600.0
"""How long one that is too large for a timer rests on its consumer, at most."""


class Reminder:
    """The gate of a reaction to the time in a field."""

    def __init__(self, binding: Binding) -> None:
        self._context, self._service, self._reaction = binding.context, binding.service, binding.reaction
        self._types = binding.types
        self._endings = {event.type for event in binding.service.endings}
        self._entities = {entity_of(event) for event in binding.service.endings}

    def is_open(self, _delivery: RawDelivery) -> bool:
        """Never: the time is in the body."""
        return False

    async def handle(self, delivery: RawDelivery, then: Callable[[RawDelivery], Awaitable[Outcome]]) -> Outcome:
        """Let it wait until it is due; settle it if its story is over by then."""
        try:
            event = read_event(self._types[delivery.type], decode_envelope(delivery).data)
        except (BrokenContract, KeyError):
            return await then(delivery)  # which makes a dead letter of it
        if await self._context.in_flight.is_disowned(delivery):
            return self._again(delivery, Disowned(), 0.0)
        at: datetime | None = getattr(event, self._reaction.at)
        seconds = at.timestamp() - self._context.connection.clock.now() if at else 0.0
        if seconds > 0:
            return await self._wait(delivery, seconds)
        key = getattr(event, self._reaction.about) if self._reaction.about else event.key
        try:
            is_over = at is None or await self._is_over(key)
        except Unavailable as trouble:
            return self._again(delivery, trouble, AGAIN_SECONDS)
        if not is_over:
            return await then(delivery)
        self._context.in_flight.ack(delivery)
        return Settled()

    async def _wait(self, delivery: RawDelivery, seconds: float) -> Outcome:
        reaction = self._reaction
        try:
            await delay(self._context.publisher, reaction.service, reaction.name, delivery, seconds, 0)
        except Unavailable as trouble:
            return self._again(delivery, trouble, AGAIN_SECONDS)
        except TooLarge as trouble:
            return self._again(delivery, trouble, min(seconds, TOO_LARGE_SECONDS))
        self._context.in_flight.ack(delivery)
        return Nothing()

    async def _is_over(self, key: str) -> bool:
        """Whether the service has recorded an ending about the key."""
        if not self._endings:
            return False
        subjects = [story_subject(entity, key) for entity in sorted(self._entities)]
        stored = await self._context.direct_get.last(self._service.stream, subjects)
        return has_ended(stored) or any(message.type in self._endings for message in stored)

    def _again(self, delivery: RawDelivery, trouble: Exception, seconds: float) -> Outcome:
        self._context.in_flight.nak(delivery, seconds)
        return Retried(trouble, seconds)


def reminder(binding: Binding) -> Reminder | None:
    """The gate, if a field says when the reaction is due."""
    return Reminder(binding) if binding.reaction.at else None
