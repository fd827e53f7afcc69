"""Reactions to many deliveries: decided together on one reading, recorded in one atomic batch."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.trace import Span

from jetmesh.common.tasks import RAISED, error_of
from jetmesh.event import Event, EventType, entity_of, id_of, is_milestone, is_occurrence
from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.outcome import EventsRecorded, Outcome, Settled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.handle import Chain, How
from jetmesh.runtime.precedent import SECOND, is_caused, reads_one_milestone, require_same
from jetmesh.runtime.reading import Archived, Reading
from jetmesh.runtime.recording import Recording, join_story
from jetmesh.runtime.stories import folded
from jetmesh.runtime.together import Join, OnEnd, Together
from jetmesh.telemetry.spans import OUTCOME, Attempt

ATTEMPTS_MAX = 256
ROUNDS = 8


class BatchEvent(NamedTuple):
    """One event of a commit: the attempt that caused it, its subject and its guard."""

    event: Event
    key: str
    cause: Attempt
    subject: str
    guard: Guard

    @property
    def is_occurrence(self) -> bool:
        """Whether it is guarded by its own subject."""
        return self.subject == self.guard.subject


class Prepared(NamedTuple):
    """One event of a commit as a message, and the span of recording it."""

    planned: BatchEvent
    message: Message
    span: Span


def many(binding: Binding) -> Together[Attempt]:
    """The worker of a reaction to many events."""
    return Together(binding, partial(Many, binding))


class Many:
    """Decides the deliveries of a batch in one go, each of another key, and records the events in one commit."""

    batch_max, worthwhile = ATTEMPTS_MAX, 0

    def __init__(self, binding: Binding, join: Join[Attempt]) -> None:
        self._chain = chain = Chain(binding, lambda attempt: join(attempt.delivery, attempt))
        self.gates, self.down = chain.gates, chain.down
        self.passes = _never if binding.middlewares else chain.gates.is_open
        self._occurs = any(map(is_occurrence, binding.reaction.events))
        self._binding, self._context, self._reaction = binding, binding.context, binding.reaction
        self._breaker, self._recording = binding.breaker, Recording(binding)
        self._fold = partial(folded, types={event.type: event for event in binding.service.records})
        self._occurrences = frozenset(filter(is_occurrence, self._reaction.outcomes))
        self._milestones = frozenset(filter(is_milestone, self._reaction.outcomes))
        self._is_one_fact = reads_one_milestone(self._reaction)

    def key(self, attempt: Attempt) -> object:
        """The wildcard guards of one key do not see each other inside a batch. Occurrences stand for themselves: of one
        key there may be many."""
        if not self._occurs or not is_occurrence(type(attempt.event)):
            return attempt.envelope.key
        return attempt.envelope.key, attempt.delivery.occurrence or id_of(attempt.event) or attempt.delivery.sequence

    async def up(self, ended: Sequence[tuple[Attempt, How]]) -> list[Delivery]:
        """Take attempts up the chain; those that are held."""
        held = []
        for attempt, how in ended:
            outcome = await self._chain.up(attempt, how)
            if outcome.is_held:
                held.append(attempt.delivery)
        return held

    async def decide(self, attempts: list[Attempt], on_end: OnEnd[Attempt]) -> None:
        """Decide and record the batch; one that fails is taken apart, so that a poisoned delivery is alone with it."""
        await self._context.in_flight.certainty()
        try:
            recorded = await self._commit(attempts)
        except RAISED as raised:
            error = error_of(raised)
            if len(attempts) == 1 or isinstance(error, Unavailable):
                await on_end(dict.fromkeys(attempts, error))
                return
            middle = len(attempts) // 2
            await self.decide(attempts[:middle], on_end)
            await self.decide(attempts[middle:], on_end)
        else:
            await on_end({attempt: _outcome(recorded.get(attempt)) for attempt in attempts})

    async def _commit(self, attempts: list[Attempt]) -> Mapping[Attempt, list[Event]]:
        """What was recorded, by the attempt whose key it is about."""
        for rounds in range(ROUNDS):
            reading = Reading(self._context.direct_get, self._context.known, self._binding.service.stream, self._fold)
            try:
                decided = [self._recording.declared(event) for event in await self._decide(attempts, reading)]
            except Archived as archived:
                attempts = self._without(archived, attempts)
                if attempts:
                    continue
                decided = []
            if not decided:
                return {}
            plan = self._planned(decided, attempts, reading)
            if done := await self._done(plan, reading, is_first=rounds == 0):
                attempts = [attempt for attempt in attempts if attempt not in done]
                if attempts:
                    continue
                return {}
            if await self._record(self._prepared(plan, reading), decided, reading):
                return _by_attempt(plan)
            await asyncio.sleep(0.002 * rounds)
        raise Unavailable("what the batch read kept changing", 0.1)

    async def _done(self, plan: Sequence[BatchEvent], reading: Reading, *, is_first: bool) -> set[Attempt]:
        """The attempts whose events are recorded already: they came again, and the batch is decided without them.

        Raises:
            Permanent: another cause recorded a milestone before, or other contents under the id of an occurrence.
        """
        read = reading.read
        done = {
            one.cause for one in plan
            if type(one.event) in self._milestones
            and (story := read.get(one.guard.subject))
            and self._is_repeated(one, story)
        }  # fmt: skip
        if not self._occurrences or (is_first and all(one.cause.delivered == 1 for one in plan)):
            return done  # the guards find out
        subjects = [one.subject for one in plan if one.is_occurrence]
        found = await self._context.direct_get.last(self._binding.service.stream, subjects, 1) if subjects else ()
        there = {message.subject: message for message in found}
        return done | {one.cause for one in plan if one.subject in there and _is_same(one, there[one.subject])}

    def _is_repeated(self, one: BatchEvent, story: Sequence[Stored]) -> bool:
        same = [message for message in story if message.subject == one.subject]
        is_duplicate = self._is_one_fact and one.key == one.cause.key
        if same and not is_duplicate and not is_caused(same[0], one.cause.envelope):
            raise Permanent(SECOND.format(key=one.key, type=type(one.event).type))
        return bool(same)

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
                event_type, began = type(prepared.planned.event), prepared.planned.cause.envelope.began
                self._binding.telemetry.recorded(event_type, began, prepared.span.get_span_context())
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

    def _planned(self, decided: list[Event], attempts: list[Attempt], reading: Reading) -> list[BatchEvent]:
        """Each event under the guard of what was read about its key, caused by the delivery of its key. One that has
        no delivery of its own is caused by a delivery whose key is decided about: a redelivered event has used its
        derived ids already. An occurrence is guarded by its own subject, which need not be read."""
        if len(decided) > BATCH_MAX:
            raise Permanent(f"{len(decided)} events are more than the {BATCH_MAX} of one atomic batch")
        causes: dict[object, Attempt] = {attempt.envelope.key: attempt for attempt in attempts}
        if self._occurrences:
            causes |= {(attempt.key, id_of(attempt.event)): attempt for attempt in attempts}
        keys = [event.key for event in decided]
        others = ([causes[key] for key in keys if key in causes] or attempts)[-1]
        plan = []
        for event, key in zip(decided, keys, strict=True):
            if type(event) in self._occurrences:
                cause = causes.get((key, id_of(event))) or causes.get(key, others)
                subject = subject_of(type(event), key, id_of(event))
                guard = Guard(subject, 0)
            else:
                cause, subject = causes.get(key, others), subject_of(type(event), key)
                guard = self._guard(reading, type(event), key)
            plan.append(BatchEvent(event, key, cause, subject, guard))
        self._check_levels(plan, reading)
        return plan

    def _guard(self, reading: Reading, event_type: EventType, key: str) -> Guard:
        guard = reading.guards.get(story_subject(entity_of(event_type), key))
        if guard is None:
            raise Permanent(f"{self._reaction.durable} decided about {key} without reading its story")
        return guard

    def _prepared(self, plan: Sequence[BatchEvent], reading: Reading) -> list[Prepared]:
        commit = []
        for index, one in enumerate(plan):
            if not one.cause.delivery.key and one.key == one.cause.key and not one.is_occurrence:
                join_story(one.cause, reading.read.get(one.guard.subject, ()))
            message, span = self._recording.message(one.event, one.key, one.cause, one.guard, index, one.subject)
            commit.append(Prepared(one, message, span))
        return commit

    def _check_levels(self, plan: Sequence[BatchEvent], reading: Reading) -> None:
        forgotten = reading.levels.keys() - {one.subject for one in plan}
        if forgotten:
            raise Permanent(
                f"{self._reaction.durable} read {', '.join(sorted(forgotten))} and does not record it again; what a "
                f"decision rests on is guarded only if it is part of the commit"
            )


def _never(_delivery: Delivery) -> bool:
    """A middleware may always make a delivery wait."""
    return False


def _outcome(events: list[Event] | None) -> Outcome:
    return EventsRecorded(tuple(events)) if events else Settled()


def _by_attempt(plan: Iterable[BatchEvent]) -> dict[Attempt, list[Event]]:
    found: dict[Attempt, list[Event]] = {}
    for one in plan:
        if one.key == one.cause.envelope.key:
            found.setdefault(one.cause, []).append(one.event)
    return found


def _is_same(one: BatchEvent, message: Stored) -> bool:
    """Whether an occurrence was recorded by this cause, or with the same contents.

    Raises:
        Permanent: other contents have its id.
    """
    if not is_caused(message, one.cause.envelope):
        require_same(one.event, message)
    return True
