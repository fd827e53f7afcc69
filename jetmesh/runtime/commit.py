"""One commit of a reaction to many: planned under the guards of what was read, and recorded in one atomic batch."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opentelemetry.trace import Span

from jetmesh.event import Event, EventType, entity_of, id_of, is_milestone, is_occurrence
from jetmesh.failure import Permanent
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.precedent import SecondMilestone, is_caused, reads_one_milestone, require_same
from jetmesh.runtime.reading import Reading
from jetmesh.runtime.recording import Recording, join_story, start_of
from jetmesh.telemetry.spans import OUTCOME, Attempt


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
    began: str


class Commits:
    """Makes the commits of one reaction."""

    def __init__(self, binding: Binding, recording: Recording) -> None:
        self._reaction, self._recording, self._telemetry = binding.reaction, recording, binding.telemetry
        self._direct_get, self._publisher = binding.context.direct_get, binding.context.publisher
        self._stream = binding.service.stream
        self._occurrences = frozenset(filter(is_occurrence, self._reaction.outcomes))
        self._milestones = frozenset(filter(is_milestone, self._reaction.outcomes))
        self._is_one_fact = reads_one_milestone(self._reaction)

    def plan(self, decided: list[Event], attempts: list[Attempt], reading: Reading) -> list[BatchEvent]:
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

    def _check_levels(self, plan: Sequence[BatchEvent], reading: Reading) -> None:
        forgotten = reading.levels.keys() - {one.subject for one in plan}
        if forgotten:
            raise Permanent(
                f"{self._reaction.durable} read {', '.join(sorted(forgotten))} and does not record it again; what a "
                f"decision rests on is guarded only if it is part of the commit"
            )

    async def done(self, plan: Sequence[BatchEvent], reading: Reading, *, is_first: bool) -> set[Attempt]:
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
        found = await self._direct_get.last(self._stream, subjects, 1) if subjects else ()
        there = {message.subject: message for message in found}
        return done | {one.cause for one in plan if one.subject in there and _is_same(one, there[one.subject])}

    def _is_repeated(self, one: BatchEvent, story: Sequence[Stored]) -> bool:
        same = [message for message in story if message.subject == one.subject]
        is_duplicate = self._is_one_fact and one.key == one.cause.key
        if same and not is_duplicate and not is_caused(same[0], one.cause.envelope):
            raise SecondMilestone(one.key, type(one.event).type)
        return bool(same)

    async def record(self, plan: Sequence[BatchEvent], reading: Reading) -> bool:
        """Whether the batch is stored; False if it was refused or its outcome is unknown."""
        commit = self._prepared(plan, reading)
        messages = [prepared.message for prepared in commit]
        try:
            last = await self._publisher.record_all(messages)
            reading.recorded(messages, [one.event for one in plan], last)
        except (Refused, Unknown):
            reading.forget()
            for prepared in commit:
                prepared.span.set_attribute(OUTCOME, "refused")
            return False
        else:
            for prepared in commit:
                self._telemetry.recorded(type(prepared.planned.event), prepared.began, prepared.span.get_span_context())
            return True
        finally:
            for prepared in commit:
                prepared.span.end()

    def _prepared(self, plan: Sequence[BatchEvent], reading: Reading) -> list[Prepared]:
        commit = []
        for index, one in enumerate(plan):
            story = (
                () if one.is_occurrence or one.subject in reading.levels else reading.read.get(one.guard.subject, ())
            )
            is_own = one.key == one.cause.key
            if is_own and not one.cause.delivery.key:
                join_story(one.cause, story)
            other = None if is_own else start_of(story)
            message, span = self._recording.message(one.event, one.key, one.cause, one.guard, index, one.subject, other)
            began = one.cause.envelope.began if other is None else other.began
            commit.append(Prepared(one, message, span, began))
        return commit


def by_attempt(plan: Iterable[BatchEvent]) -> dict[Attempt, list[Event]]:
    """What a plan says about the key of an attempt, by that attempt."""
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
