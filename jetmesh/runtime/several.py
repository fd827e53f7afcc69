"""Reactions to one event whose outcomes have a guard each: occurrences, and several events recorded together.

An occurrence is guarded by its own subject: it is not there before. A milestone and a state are guarded by the story of
their key, as it was read. What is recorded together is one atomic batch: all of it is stored, or none.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opentelemetry.trace import Span

from jetmesh.event import Event, entity_of, id_field_of, id_of, is_occurrence
from jetmesh.failure import Permanent
from jetmesh.jetstream.direct_get import Stored, last_sequence
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.subject import covers, story_subject, subject_of
from jetmesh.outcome import EventsRecorded, Nothing, Outcome, Settled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.precedent import is_caused, require_same
from jetmesh.runtime.single import Case, Single, but, join_cause
from jetmesh.runtime.stories import has_ended
from jetmesh.telemetry.spans import OUTCOME, Attempt


class Planned(NamedTuple):
    """One event to be recorded: its place in the commit, its subject, and the subjects of its guard."""

    event: Event
    place: str
    subject: str
    guarded: str

    @property
    def is_occurrence(self) -> bool:
        """Whether it is guarded by its own subject."""
        return self.subject == self.guarded


class Several(Single):
    """Decides as `Single` does; plans a guard for each event, and records them in one message or one atomic batch."""

    def __init__(self, binding: Binding, *, is_careful: bool) -> None:
        super().__init__(binding, is_careful=is_careful)
        outcomes = self._reaction.outcomes
        self._of_a_story = [event for event in outcomes if not is_occurrence(event)]
        self._occurs = len(self._of_a_story) < len(outcomes)
        self._derived = [event for event in outcomes if is_occurrence(event) and not id_field_of(event)]
        self._reads_nothing = (self._reads_nothing and not self._occurs) or not self._of_a_story
        self._has_story = bool(self._of_a_story) or self._story is not None
        self._is_several = self._reaction.is_several

    async def _round(self, case: Case, stored: Sequence[Stored] | None) -> Outcome:
        """Read unless the story is known, decide, and record each event under its guard."""
        if stored is None:
            stored = await self._read(case)
            if self._is_settled(case, stored):
                return Settled()
        if case.decided is None or self._story is not None:
            if self._is_careful and case.attempt.delivered > 1:
                await self._confirm(case, stored)
            case.decided = await self._decide(case.attempt, _story(case, stored))
        plan = self._plan(case, self._recording.all_declared(case.decided))
        if not plan:
            return Nothing()
        stored = await self._complete(case, plan, stored)
        plan = self._left(case, plan, stored)
        if not plan:
            return Settled()
        await self._record_all(case, plan, stored)
        return EventsRecorded(tuple(planned.event for planned in plan))

    def _expected(self, case: Case) -> Sequence[Stored] | None:
        """Nothing is read before the first attempt at an occurrence: its guard finds out. A redelivery looks first for
        the occurrences whose subjects are known before the decision."""
        if case.attempt.delivered > 1:
            case.also = tuple(self._known_subjects(case))
            if case.also:
                return None
        if self._occurs and self._story is not None:
            return self._context.known.get(case.guarded)
        return super()._expected(case)

    async def _read(self, case: Case) -> Sequence[Stored]:
        """Read the story, and what else was decided about, in one request: one server answers it, as of one moment. An
        occurrence from outside has a trace of its own: a story may have thousands."""
        if not self._occurs and not case.also:
            return await super()._read(case)
        subjects = [case.guarded, *case.also] if self._has_story else case.also
        return await self._context.direct_get.last(self._service.stream, subjects)

    async def _confirm(self, case: Case, stored: Sequence[Stored]) -> None:
        """Ask the leader about a redelivery, as far as its subjects are known before it is decided."""
        publisher = self._context.publisher
        if self._of_a_story:
            subject = subject_of(self._of_a_story[0], case.key)
            if await publisher.last_sequence(case.guarded, subject) != last_sequence(_story(case, stored)):
                raise Refused(f"the story on {case.guarded} has more events than were read")
        for subject in self._known_subjects(case):
            if await publisher.last_sequence(subject, subject):
                raise Refused(f"{subject} is recorded already")

    def _known_subjects(self, case: Case) -> Iterable[str]:
        """The subjects of occurrences that can be told before the decision: of those whose id is derived from the
        cause, and of one that comes from outside and is recorded under its own name."""
        attempt = case.attempt
        for event_type in self._derived:
            place = f"{event_type.type}.{case.key}" if self._is_several else "0"
            yield subject_of(event_type, case.key, self._recording.event_id(attempt.envelope, place))
        if type(attempt.event) in self._reaction.outcomes and id_of(attempt.event):
            yield subject_of(type(attempt.event), case.key, id_of(attempt.event))

    def _is_settled(self, case: Case, stored: Sequence[Stored]) -> bool:
        """Whether what is recorded already leaves nothing to decide.

        Raises:
            Permanent: other contents stand in the place of what has come from outside; or a second milestone.
        """
        attempt, story = case.attempt, _story(case, stored)
        if self._is_outside and self._occurs:  # the story of its key was not begun by it
            story = [message for message in story if has_ended([message])]
        if self._has_story and self._precedent.settles(attempt, story):
            return True
        there = {message.subject: message for message in stored if message.is_occurrence}
        own = subject_of(type(attempt.event), case.key, id_of(attempt.event))
        if own in there and type(attempt.event) in self._reaction.outcomes:
            return self._is_same(attempt, attempt.event, there[own])
        return any(is_caused(message, attempt.envelope) for message in there.values())

    def _plan(self, case: Case, events: Sequence[Event]) -> list[Planned]:
        """The subject and the guard of each event.

        Raises:
            Permanent: one of them is about a key that this form does not reach.
        """
        plan: list[Planned] = []
        counts: dict[str, int] = {}
        for event in events:
            event_type, key = type(event), event.key
            self._require_key(case, event)
            place = self._place(event, counts)
            if is_occurrence(event_type):
                occurrence = id_of(event) or self._recording.event_id(case.attempt.envelope, place)
                subject = guarded = subject_of(event_type, key, occurrence)
            else:
                subject, guarded = subject_of(event_type, key), story_subject(entity_of(event_type), key)
            plan.append(Planned(event, place, subject, guarded))
        if len({planned.subject for planned in plan}) < len(plan):
            twice = next(p.subject for n, p in enumerate(plan) if p.subject in {q.subject for q in plan[:n]})
            raise Permanent(f"{self._reaction.durable} returned two events for {twice}: one commit records it once")
        return plan

    def _place(self, event: Event, counts: dict[str, int]) -> str:
        """What tells an event of a commit from the others: its type and key, and its number among those alike."""
        if not self._is_several:
            return "0"
        alike = f"{type(event).type}.{event.key}"
        number = counts[alike] = counts.get(alike, -1) + 1
        return f"{alike}#{number}" if number else alike

    def _require_key(self, case: Case, event: Event) -> None:
        if event.key == case.key:
            return
        name = type(event).__name__
        if not self._is_several:
            raise Permanent(
                f"{name} is about {event.key}, but the story is that of {case.key}; `@service.on(about=…)` names the "
                f"field of the story's key"
            )
        if type(event).state:
            raise Permanent(
                f"the state {name} is about {event.key}, and only the story of {case.key} was read: change states of "
                f"other keys with `@service.on_many`, which reads them through its Snapshot"
            )

    async def _complete(self, case: Case, plan: Sequence[Planned], stored: Sequence[Stored]) -> Sequence[Stored]:
        """What was read, with the stories of the other keys that are decided about.

        Raises:
            Refused: the story that the decision rests on has changed since.
        """
        read = {case.guarded, *case.also} if self._has_story else set(case.also)
        case.also = tuple(dict.fromkeys(planned.guarded for planned in plan if planned.guarded != case.guarded))
        if all(planned.is_occurrence or planned.guarded in read for planned in plan):
            return stored
        again = await self._read(case)
        if last_sequence(_story(case, again)) != last_sequence(_story(case, stored)):
            raise Refused(f"the story on {case.guarded} changed while those of other keys were read")
        return again

    def _left(self, case: Case, plan: Sequence[Planned], stored: Sequence[Stored]) -> list[Planned]:
        """What is still to be recorded of a plan; nothing if this cause recorded it before.

        Raises:
            Permanent: another cause recorded a milestone of it, or other contents under the id of an occurrence.
            Refused: the story is remembered without its causes; read it.
        """
        attempt, there = case.attempt, {message.subject: message for message in stored}
        ended = {m.key for m in stored if m.key != case.key and has_ended([m])}
        left = []
        for planned in plan:
            message = there.get(planned.subject)
            if planned.event.key in ended:
                raise Permanent(f"{planned.event.key} has ended, and is archived: nothing is recorded about it")
            if message is None or type(planned.event).state:
                left.append(planned)
            elif not planned.is_occurrence:
                if self._precedent.repeats(planned.event, attempt.envelope, [message]):
                    return []
            elif self._is_same(attempt, planned.event, message) and is_caused(message, attempt.envelope):
                return []
        if len(left) < len(plan) and not all(planned.is_occurrence for planned in plan):
            first = next(planned for planned in plan if planned not in left)
            raise Permanent(
                f"{first.subject} was recorded before, from another cause; what is to be recorded with it would be "
                f"recorded without it"
            )
        return left

    def _is_same(self, attempt: Attempt, event: Event, message: Stored) -> bool:
        """Whether an occurrence is recorded already: by this cause, or with the same contents.

        Raises:
            Permanent: other contents have its id.
        """
        if self._reaction.form.only_outside or not is_caused(message, attempt.envelope):
            require_same(event, message)
        return True

    async def _record_all(self, case: Case, plan: Sequence[Planned], stored: Sequence[Stored]) -> None:
        """Record everything under its guard, or nothing; remember the story."""
        attempt = case.attempt
        if self._is_delayed:
            join_cause(attempt)
        messages: list[Message] = []
        spans: list[Span] = []
        try:
            for planned in plan:
                guard = Guard(planned.guarded, _last(planned, stored))
                event, subject = planned.event, planned.subject
                message, span = self._recording.message(event, event.key, attempt, guard, planned.place, subject)
                messages.append(message)
                spans.append(span)
            last = await self._send(messages)
        except (Refused, Unknown):
            self._context.known.forget(case.guarded)
            for span in spans:
                span.set_attribute(OUTCOME, "refused")
            raise
        finally:
            for span in spans:
                span.end()
        for planned, span in zip(plan, spans, strict=True):
            self._binding.telemetry.recorded(type(planned.event), attempt.envelope.began, span.get_span_context())
        self._remember(case, plan, messages, _story(case, stored), last)

    async def _send(self, messages: Sequence[Message]) -> int:
        if len(messages) == 1:
            return await self._context.group_commit.record(messages[0])
        return await self._context.publisher.record_all(messages)

    def _remember(
        self, case: Case, plan: Sequence[Planned], messages: Sequence[Message], story: Sequence[Stored], last: int
    ) -> None:
        """Remember the story until it ends; of other keys nothing is known any more."""
        for planned in plan:
            if planned.guarded != case.guarded and not planned.is_occurrence:
                self._context.known.forget(planned.guarded)
        if not self._is_remembered or all(planned.guarded != case.guarded for planned in plan):
            return
        first = last - len(messages) + 1
        for sequence, (planned, message) in enumerate(zip(plan, messages, strict=True), first):
            if planned.guarded == case.guarded:
                story = (*but(story, message.subject), Stored(message.subject, sequence, "", {}, message.data))
        if any(type(planned.event) in self._endings for planned in plan):
            self._context.known.forget(case.guarded)
        else:
            self._context.known.put(case.guarded, story)


def _story(case: Case, stored: Sequence[Stored]) -> Sequence[Stored]:
    """The story of the case's key among what was read."""
    return [message for message in stored if covers(case.guarded, message.subject)] if case.also else stored


def _last(planned: Planned, stored: Sequence[Stored]) -> int:
    """The sequence that the guard of an event expects; 0 for an occurrence: it is not there before."""
    if planned.is_occurrence:
        return 0
    return last_sequence([message for message in stored if covers(planned.guarded, message.subject)])
