"""Reactions to many deliveries: decided together on one reading, recorded in one atomic batch."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from opentelemetry.trace import Span

from jetmesh.event import Event, EventType, entity_of
from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message, Refused, Unknown
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.jetstream.subject import story_subject
from jetmesh.outcome import EventsRecorded, Held, NextBatch, Outcome, Settled
from jetmesh.runtime.batching import Batches
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.crash_guard import is_suspect, last_chance
from jetmesh.runtime.failure_policy import FailurePolicy
from jetmesh.runtime.handle import answer, begin, event_of, middlewares
from jetmesh.runtime.meeting import Meeting
from jetmesh.runtime.reading import Archived, Reading
from jetmesh.runtime.recording import Recording, join_story
from jetmesh.runtime.stories import folded
from jetmesh.telemetry.spans import OUTCOME, Attempt

End: TypeAlias = Callable[[Attempt, Outcome | Exception], Awaitable[None]]
"""Called once for each attempt of a batch, when it is known how it ended."""

DELIVERIES_MAX = 256
ROUNDS = 8


class Prepared(NamedTuple):
    """One event of a commit, with the time at which its story began and the span of recording it."""

    type: EventType
    began: str
    message: Message
    span: Span


def many(binding: Binding) -> Batches:
    """The worker of a reaction to many events."""
    return Batches(binding, Many(binding))


class Many:
    """Takes whatever waits, at most one delivery of a key, and decides it in one go."""

    def __init__(self, binding: Binding) -> None:
        self._binding, self._context, self._reaction = binding, binding.context, binding.reaction
        self._breaker, self._policy, self._recording = binding.breaker, FailurePolicy(binding), Recording(binding)
        own = {event.type: event for event in binding.service.records}
        self._fold = partial(_fold, own)

    async def size(self) -> int:
        """The most deliveries of a batch; one while a circuit breaker is half-open."""
        if self._breaker and not await self._breaker.admission():
            return 0
        return DELIVERIES_MAX if self._breaker is None or self._breaker.is_closed else 1

    async def handle(self, batch: list[Delivery], queue: Batches) -> None:
        """Decide the batch, at most one delivery of a key; then, each alone, what may have killed its process."""
        suspects = [delivery for delivery in batch if is_suspect(self._reaction, delivery)]
        random.shuffle(suspects)  # so that no delivery always waits behind one that kills the process
        await self._handle_together([one for one in batch if not is_suspect(self._reaction, one)], queue)
        for delivery in suspects:
            async with self._context.alone:
                if await last_chance(self._context, self._reaction, delivery) is None:
                    await self._handle_together([delivery], queue)

    async def _handle_together(self, batch: list[Delivery], queue: Batches) -> None:
        attempts: dict[str, Attempt] = {}
        for delivery in batch:
            attempt = begin(self._binding, delivery)
            try:
                key = (event := event_of(self._binding, attempt)).key
            except Permanent as broken:
                await self._end(attempt, broken, queue)
                continue
            attempt.event = event
            if key in attempts:  # wildcard guards of one key do not see each other inside a batch
                attempt.end(NextBatch())
                queue.waiting.insert(0, delivery)
            else:
                attempts[key] = attempt
        decide = self._decide_inside if self._binding.middlewares else self._decide_all
        if attempts:
            await decide(list(attempts.values()), partial(self._end, queue=queue))

    async def _decide_inside(self, attempts: list[Attempt], end: End) -> None:
        """Decide the batch where each of its attempts has gone down through its middlewares."""
        meeting = Meeting(len(attempts))
        handle = middlewares(self._binding, meeting.join)
        tasks = [asyncio.create_task(meeting.attend(attempt, handle)) for attempt in attempts]
        if joined := await meeting.joined():
            await self._decide_all(joined, meeting.decided)
        for attempt, how in zip(attempts, await asyncio.gather(*tasks), strict=True):
            await end(attempt, how)

    async def _end(self, attempt: Attempt, how: Outcome | Exception, queue: Batches) -> None:
        """Settle a delivery and end its attempt; one that is held waits for its next turn."""
        outcome = await self._failed(attempt, how) if isinstance(how, Exception) else how
        if self._breaker and outcome is how:
            self._breaker.ended(None)
        answer(self._context.in_flight, attempt.delivery, outcome)
        attempt.end(outcome)
        if outcome.is_held:
            queue.accept(attempt.delivery)

    async def _failed(self, attempt: Attempt, error: Exception) -> Outcome:
        if self._breaker:
            self._breaker.ended(error)
            if isinstance(error, Unavailable) and not self._breaker.is_closed:
                return Held(error)
        return await self._policy.outcome(attempt, error)

    async def _decide_all(self, attempts: list[Attempt], end: End) -> None:
        """Decide and record the batch; one that fails is taken apart, so that a poisoned delivery is alone with it."""
        await self._context.in_flight.certainty()
        try:
            recorded = await self._commit(attempts)
        except Exception as error:
            if len(attempts) == 1 or isinstance(error, Unavailable):
                for attempt in attempts:
                    await end(attempt, error)
                return
            middle = len(attempts) // 2
            await self._decide_all(attempts[:middle], end)
            await self._decide_all(attempts[middle:], end)
        else:
            for attempt in attempts:
                events = recorded.get(attempt.key)
                await end(attempt, EventsRecorded(tuple(events)) if events else Settled())

    async def _commit(self, attempts: list[Attempt]) -> Mapping[str, list[Event]]:
        """What was recorded, by key."""
        for rounds in range(ROUNDS):
            reading = Reading(self._context.direct_get, self._context.known, self._binding.service.stream, self._fold)
            try:
                decided = [self._recording.declared(event) for event in await self._decide(attempts, reading)]
            except Archived as archived:
                attempts = self._without(archived, attempts)
                decided = []
                if attempts:
                    continue
            if not decided:
                return {}
            if await self._record(self._prepared(decided, attempts, reading), decided, reading):
                return _by_key(decided)
            await asyncio.sleep(0.002 * rounds)
        raise Unavailable("what the batch read kept changing", 0.1)

    async def _record(self, commit: list[Prepared], decided: list[Event], reading: Reading) -> bool:
        """Whether the batch is stored; False if it was refused or its outcome is unknown."""
        messages = [prepared.message for prepared in commit]
        try:
            reading.recorded(messages, decided, await self._context.publisher.record_all(messages))
        except (Refused, Unknown):
            reading.forget()
            for prepared in commit:
                prepared.span.set_attribute(OUTCOME, "refused")
            return False
        else:
            for prepared in commit:
                self._binding.telemetry.recorded(prepared.type, prepared.began, prepared.span.get_span_context())
            return True
        finally:
            for prepared in commit:
                prepared.span.end()

    def _without(self, archived: Archived, attempts: list[Attempt]) -> list[Attempt]:
        """The attempts about which there is something to decide.

        Raises:
            Permanent: the reaction read a story that ended, about a key that nothing has arrived about.
        """
        if strange := archived.keys - {attempt.key for attempt in attempts}:
            raise Permanent(f"{self._reaction.durable} decides by {', '.join(sorted(strange))}, which is archived")
        return [attempt for attempt in attempts if attempt.key not in archived.keys]

    async def _decide(self, attempts: list[Attempt], reading: Reading) -> list[Any]:
        filled = {"snapshot": reading, "dependencies": self._binding.dependencies}
        arguments = [filled[name] for name in self._reaction.arguments]
        answer = self._reaction.function([attempt.event for attempt in attempts], *arguments)
        decided: list[Any] = await (self._breaker.watch(answer) if self._breaker else answer)
        return decided

    def _prepared(self, decided: list[Event], attempts: list[Attempt], reading: Reading) -> list[Prepared]:
        """Each event under the guard of what was read about its key, caused by the delivery of its key. One that has
        no delivery of its own is caused by a delivery whose key is decided about: a redelivered event has used its
        derived ids already."""
        if len(decided) > BATCH_MAX:
            raise Permanent(f"{len(decided)} events are more than the {BATCH_MAX} of one atomic batch")
        causes = {attempt.key: attempt for attempt in attempts}
        with_cause = [causes[event.key] for event in decided if event.key in causes]
        commit = []
        for index, event in enumerate(decided):
            cause = causes.get(event.key, (with_cause or attempts)[-1])
            guard = reading.guards.get(story_subject(entity_of(type(event)), event.key))
            if guard is None:
                raise Permanent(f"{self._reaction.durable} decided about {event.key} without reading its story")
            if not cause.delivery.key and event.key == cause.key:
                join_story(cause, reading.read.get(guard.subject, ()))
            message, span = self._recording.message(event, cause, guard, index)
            commit.append(Prepared(type(event), cause.envelope.began, message, span))
        self._check_levels(commit, reading)
        return commit

    def _check_levels(self, commit: list[Prepared], reading: Reading) -> None:
        forgotten = reading.levels.keys() - {prepared.message.subject for prepared in commit}
        if forgotten:
            raise Permanent(
                f"{self._reaction.durable} read {', '.join(sorted(forgotten))} and does not record it again; what a "
                f"decision rests on is guarded only if it is part of the commit"
            )


def _fold(own: dict[str, EventType], state: type, stored: Sequence[Stored]) -> Any:
    return folded(state, stored, own)


def _by_key(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event)
    return found
