"""Reactions to one event: decided from the service's own story of the key, recorded in one guarded publish."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeAlias

from jetmesh.common.throttled_log import reason_of
from jetmesh.event import Event
from jetmesh.failure import BrokenContract, Disowned, NotYet, Permanent, Unavailable, growing
from jetmesh.jetstream.direct_get import Stored, last_sequence
from jetmesh.jetstream.message import Guard, Refused, Unknown
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.outcome import EventsRecorded, Nothing, Outcome, Settled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.precedent import Precedent
from jetmesh.runtime.recording import Recording, join_story
from jetmesh.runtime.stories import folded
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.telemetry.spans import OUTCOME, Attempt

TimedPosition: TypeAlias = tuple[str, int, float]
"""Stream, sequence and time of a message: a stream that was made anew gives the sequence to another message."""

UNRECORDED_MAX = 4096
ROUND_SECONDS_MAX, WAIT_SECONDS_MAX = 0.5, 15.0
ROUNDS = 8
"""How often one attempt decides again after a refused or unanswered publish."""


class Case:
    """One attempt: the key and subjects of its guard, what was decided, and what else is to be read with the story."""

    __slots__ = ("also", "attempt", "decided", "guarded", "key", "position")

    def __init__(self, attempt: Attempt, key: str, guarded: str, position: TimedPosition, decided: Any) -> None:
        self.attempt, self.key, self.guarded, self.position, self.decided = attempt, key, guarded, position, decided
        self.also: tuple[str, ...] = ()


class Single:
    """Reads the story, decides, and records under a guard. `is_careful`: before it decides about a redelivery, it asks
    the stream's leader for the last sequence."""

    def __init__(self, binding: Binding, *, is_careful: bool) -> None:
        self._context, self._service, self._reaction = binding.context, binding.service, binding.reaction
        self._call, self._arguments = binding.call, binding.reaction.arguments
        self._binding, self._is_careful = binding, is_careful
        self._recording, self._precedent = Recording(binding), Precedent(binding)
        self._unrecorded: dict[TimedPosition, Any] = {}
        self._entity, self._story, self._about = self._reaction.entity, self._reaction.story, self._reaction.about
        self._own = {event.type: event for event in self._service.records}
        form = self._reaction.form
        self._is_outside, self._is_delayed = form.only_outside or form.is_foreign, form.is_delayed
        self._reads_nothing = self._reaction.form.begins or not self._reaction.outcomes
        self._is_remembered = any(reaction.story for reaction in self._service.reactions)
        self._endings = frozenset(self._service.endings)

    async def react(self, attempt: Attempt) -> Outcome:
        """Decide and record; again when the publish was refused or its outcome is unknown."""
        delivery = attempt.delivery
        position = delivery.stream, delivery.sequence, delivery.timestamp
        key = self._key(attempt)
        case = Case(attempt, key, story_subject(self._entity, key), position, self._unrecorded.get(position))
        stored, rounds = self._expected(case), 0
        while rounds < ROUNDS or position in self._unrecorded:
            try:
                outcome = await self._round(case, stored)
            except NotYet:
                if stored is None:
                    _require_a_key(attempt)
                    raise
            except (Refused, Unavailable, Permanent, Disowned) as trouble:
                self._keep_in_mind(case)
                await self._wait(position, rounds, trouble)
                rounds += 1
            else:
                if self._unrecorded:
                    self._unrecorded.pop(position, None)
                return outcome
            stored = None
        raise Unavailable(f"the story of {attempt.event.key} kept changing", 0.1)

    def _key(self, attempt: Attempt) -> str:
        """The key of the story that the attempt is about."""
        key: str = getattr(attempt.event, self._about) if self._about else attempt.envelope.key
        return key

    async def _round(self, case: Case, stored: Sequence[Stored] | None) -> Outcome:
        """Read the story unless it is known, decide, and record under the story's guard."""
        if stored is None:
            stored = await self._read(case)
            if self._precedent.settles(case.attempt, stored):
                return Settled()
        if case.decided is None or self._story is not None:
            # A decision without the story is kept: deciding again would only send the same mail again.
            if self._is_careful and case.attempt.delivered > 1:
                await self._confirm(case, stored)
            case.decided = await self._decide(case.attempt, stored)
        if case.decided is None:
            return Nothing()
        event = self._recording.declared(case.decided)
        if self._story is not None and stored and self._precedent.repeats(event, case.attempt.envelope, stored):
            return Settled()
        await self._record(case, event, stored)
        return EventsRecorded((event,))

    def _expected(self, case: Case) -> Sequence[Stored] | None:
        """The story if it is known without reading: empty if the reaction begins it; the events that this process
        recorded if the reaction reads the story. None: it must be read. A message from outside always needs it, because
        it joins the story's trace."""
        if self._story is not None:
            return None if self._is_outside else self._context.known.get(case.guarded)
        return () if self._reads_nothing else None

    async def _read(self, case: Case) -> Sequence[Stored]:
        """Read the story; a message from outside joins its trace."""
        stored = await self._context.direct_get.last(self._service.stream, [case.guarded])
        if self._is_outside:
            join_story(case.attempt, stored)
            case.attempt.make_current()
        return stored

    async def _confirm(self, case: Case, stored: Sequence[Stored]) -> None:
        """Ask the leader about a redelivery: its event may be recorded already, and the story was read from a replica
        that may lag.

        Raises:
            Refused: the leader has a later sequence.
        """
        subject = subject_of(self._reaction.outcomes[0], case.key)
        if await self._context.publisher.last_sequence(case.guarded, subject) != last_sequence(stored):
            raise Refused(f"the story on {case.guarded} has more events than were read")

    def _decide(self, attempt: Attempt, stored: Sequence[Stored]) -> Awaitable[Any]:
        """Call the function with the arguments of its signature; report the result to the circuit breaker."""
        arguments = [
            self._binding.dependencies if name == "dependencies"
            else attempt if name == "delivery"
            else self._context.blobs.of(self._service.name, attempt.event) if name == "blobs"
            else folded(self._story, stored, self._own)
            for name in self._arguments
        ] if self._arguments else ()  # fmt: skip
        answer = self._call(attempt.event, *arguments)
        return self._binding.breaker.watch(answer) if self._binding.breaker else answer

    async def _record(self, case: Case, event: Event, stored: Sequence[Stored]) -> int:
        """Record under the guard of the story that was read, and remember the event until the story ends; its
        sequence."""
        attempt, guard = case.attempt, Guard(case.guarded, last_sequence(stored))
        if event.key != case.key:
            raise Permanent(
                f"{type(event).__name__} is about {event.key}, but the story is that of {case.key}; "
                f"`@service.on(about=…)` names the field of the story's key"
            )
        if self._is_delayed:
            join_cause(attempt)
        message, span = self._recording.message(event, case.key, attempt, guard)
        demand = self._binding.demand
        demand.storing += 1
        try:
            sequence = await self._context.group_commit.record(message)
        except (Refused, Unknown):
            self._context.known.forget(guard.subject)
            if stored or not self._is_outside:  # else the attempt may move to the trace of the story that was not read
                span.set_attribute(OUTCOME, "refused")
                span.end()
            raise
        except BaseException:
            span.end()
            raise
        finally:
            demand.storing -= 1
        span.end()
        self._binding.telemetry.recorded(type(event), attempt.envelope.began, span.get_span_context())
        if type(event) in self._endings:
            self._context.known.forget(guard.subject)
        elif self._is_remembered:
            recorded = Stored(message.subject, sequence, "", {}, message.data)
            self._context.known.put(guard.subject, (*but(stored, message.subject), recorded))
        return sequence

    def _keep_in_mind(self, case: Case) -> None:
        """Keep a decision that was made without the story until it is recorded: its mail may have been sent."""
        if case.decided is not None and self._story is None:
            self._unrecorded[case.position] = case.decided
            if len(self._unrecorded) > UNRECORDED_MAX:
                del self._unrecorded[next(iter(self._unrecorded))]

    async def _wait(self, position: TimedPosition, rounds: int, trouble: Exception) -> None:
        """Wait until the next round. A delivery whose decision is kept stays in flight for as long as the broker
        refuses publishes or is away: another process would repeat the effect outside."""
        if isinstance(trouble, (Refused, Unknown)):
            await asyncio.sleep(min(0.002 * rounds, ROUND_SECONDS_MAX))
            return
        if not isinstance(trouble, Unavailable) or position not in self._unrecorded:
            raise trouble
        self._binding.conditions.log(
            ("unrecorded", *reason_of(trouble)), logging.WARNING, "%s waits to record the result of %s %d: %s",
            self._reaction.durable, *position[:2], trouble,
        )  # fmt: skip
        await self._context.connection.pause(growing(trouble.retry_after_seconds, rounds + 1, WAIT_SECONDS_MAX))


def but(stored: Sequence[Stored], subject: str) -> Iterable[Stored]:
    """A story without the message that a newer one on its subject replaces."""
    return (message for message in stored if message.subject != subject)


def _require_a_key(attempt: Attempt) -> None:
    """A body without a key got a key that no other event has: the event that it waits for can never be recorded.

    Raises:
        BrokenContract: it has no key.
    """
    delivery = attempt.delivery
    if not delivery.key and attempt.envelope.key == delivery.position_id:
        raise BrokenContract(f"{delivery.type}: it belongs to an earlier event, and names no key")


def join_cause(attempt: Attempt) -> None:
    """The events that a deadline leads to are part of the story that it was set for."""
    envelope = attempt.envelope
    if story := parse_traceparent(envelope.traceparent, envelope.tracestate):
        attempt.join(story)
        attempt.make_current()
