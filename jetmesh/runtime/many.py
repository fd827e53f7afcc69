"""Reactions to many deliveries: decided together on one reading, recorded in one atomic batch."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.trace import Span

from jetmesh.event import Event, EventType, entity_of
from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message, Refused, Unknown
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.jetstream.subject import story_subject
from jetmesh.outcome import EventsRecorded, Settled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.reading import Archived, Reading
from jetmesh.runtime.recording import Recording, join_story
from jetmesh.runtime.stories import folded
from jetmesh.runtime.together import OnEnd, Together
from jetmesh.telemetry.spans import OUTCOME, Attempt

ROUNDS = 8


class Prepared(NamedTuple):
    """One event of a commit, with the time at which its story began and the span of recording it."""

    event: Event
    key: str
    began: str
    message: Message
    span: Span


def many(binding: Binding) -> Together:
    """The worker of a reaction to many events."""
    return Together(binding, Many(binding).decide)


class Many:
    """Decides the deliveries of a batch in one go, each of another key, and records the events in one commit."""

    def __init__(self, binding: Binding) -> None:
        self._binding, self._context, self._reaction = binding, binding.context, binding.reaction
        self._breaker, self._recording = binding.breaker, Recording(binding)
        own = {event.type: event for event in binding.service.records}
        self._fold = partial(_fold, own)

    async def decide(self, attempts: list[Attempt], on_end: OnEnd) -> None:
        """Decide and record the batch; one that fails is taken apart, so that a poisoned delivery is alone with it."""
        await self._context.in_flight.certainty()
        try:
            recorded = await self._commit(attempts)
        except Exception as error:
            if len(attempts) == 1 or isinstance(error, Unavailable):
                for attempt in attempts:
                    await on_end(attempt, error)
                return
            middle = len(attempts) // 2
            await self.decide(attempts[:middle], on_end)
            await self.decide(attempts[middle:], on_end)
        else:
            for attempt in attempts:
                events = recorded.get(attempt.key)
                await on_end(attempt, EventsRecorded(tuple(events)) if events else Settled())

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
            commit = self._prepared(decided, attempts, reading)
            if await self._record(commit, decided, reading):
                return _by_key(commit)
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
                self._binding.telemetry.recorded(type(prepared.event), prepared.began, prepared.span.get_span_context())
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
        answer = self._binding.call([attempt.event for attempt in attempts], *arguments)
        decided: list[Any] = await (self._breaker.watch(answer) if self._breaker else answer)
        return decided

    def _prepared(self, decided: list[Event], attempts: list[Attempt], reading: Reading) -> list[Prepared]:
        """Each event under the guard of what was read about its key, caused by the delivery of its key. One that has
        no delivery of its own is caused by a delivery whose key is decided about: a redelivered event has used its
        derived ids already."""
        if len(decided) > BATCH_MAX:
            raise Permanent(f"{len(decided)} events are more than the {BATCH_MAX} of one atomic batch")
        causes = {attempt.key: attempt for attempt in attempts}
        keys = [event.key for event in decided]
        others = ([causes[key] for key in keys if key in causes] or attempts)[-1]
        commit = []
        for index, (event, key) in enumerate(zip(decided, keys, strict=True)):
            cause = causes.get(key, others)
            guard = reading.guards.get(story_subject(entity_of(type(event)), key))
            if guard is None:
                raise Permanent(f"{self._reaction.durable} decided about {key} without reading its story")
            if not cause.delivery.key and key == cause.key:
                join_story(cause, reading.read.get(guard.subject, ()))
            message, span = self._recording.message(event, cause, guard, index)
            commit.append(Prepared(event, key, cause.envelope.began, message, span))
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


def _by_key(commit: Iterable[Prepared]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for prepared in commit:
        found.setdefault(prepared.key, []).append(prepared.event)
    return found
