"""Reactions to one delivery at a time: each delivery is a task, each outcome one guarded publish."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from jetmesh.cloudevents import Envelope, read_event
from jetmesh.common.throttled_log import reason_of
from jetmesh.event import Event
from jetmesh.failure import BrokenContract, Disowned, NotYet, Permanent, Unavailable, growing, let_go
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.direct_get import Stored, last_sequence
from jetmesh.jetstream.headers import CloudEvents
from jetmesh.jetstream.message import Guard, Refused, Unknown
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.outcome import EventsRecorded, Nothing, Outcome, Settled
from jetmesh.runtime.broker_crash import PAUSE_SECONDS, Doubt
from jetmesh.runtime.crash_guard import last_chance
from jetmesh.runtime.stories import has_ended
from jetmesh.runtime.worker import NAK_SECONDS_MAX, Worker
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.telemetry.spans import OUTCOME, Attempt

log = logging.getLogger("jetmesh.reaction")

Place: TypeAlias = tuple[str, int, float]
"""Where a delivery stands, and since when: another life of its stream gives the sequence to another message."""

UNRECORDED_MAX = 4096
ROUND_SECONDS_MAX, WAIT_SECONDS_MAX = 0.5, 15.0
ROUNDS = 8
"""How often a decision is taken anew within one delivery, after a refused or unanswered recording."""


class Single(Worker):
    """Reads, decides, records under the guard that was read, acknowledges."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: deque[Delivery] = deque()
        self._is_beginning = False
        self._unrecorded: dict[Place, Event] = {}
        self._spawn = asyncio.get_running_loop().create_task
        self._current: Callable[[], Any] = asyncio.current_task
        self._entity = self.reaction.entity
        self._declared = frozenset(outcome.type for outcome in self.reaction.outcomes)
        self._is_intake = self.reaction.form.only_outside
        self._begins = self.reaction.form.begins
        self._is_remembered = any(reaction.story for reaction in self.service.reactions)
        self._endings = frozenset(self.service.endings)
        self._doubt = Doubt(self.context.connection) if self._may_act_outside else None

    @property
    def _may_act_outside(self) -> bool:
        """Whether a second run may do again what can't be taken back. What decides by its story asks that."""
        reaction = self.reaction
        return (
            reaction.story is None
            and bool(reaction.outcomes)
            and (not reaction.form.only_outside or bool(reaction.needs))
        )

    def accept(self, delivery: Delivery) -> None:
        if self._doubt is not None and self._doubt.puts_off(delivery, self.reaction.retry):
            self.context.in_flight.nak(delivery, PAUSE_SECONDS)
            return
        if delivery.delivered == 1:
            self._tasks.add(self._spawn(self._handle(delivery)))
            return
        self._again.append(delivery)
        if not self._is_beginning:
            self._is_beginning = True
            self._tasks.add(self._spawn(self._begin_again()))

    def give_back(self) -> None:
        while self._again:
            self.context.in_flight.nak(self._again.popleft())

    async def drained(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _begin_again(self) -> None:
        """Of what comes again one begins in each pass of the event loop: a thousand that fail, again and again, shall
        not hold up what comes for the first time."""
        while self._again:
            self._tasks.add(self._spawn(self._handle(self._again.popleft())))
            await asyncio.sleep(0)
        self._is_beginning = False
        self._tasks.discard(self._current())

    async def _handle(self, delivery: Delivery) -> None:
        try:
            if self.reaction.retry.exhausted(delivery.delivered):
                await self._handle_alone(delivery)
            else:
                await self._settle(delivery)
        except Exception as surprise:
            # Whatever it is, the delivery must not stay in hand: it comes again, and its attempts end.
            log.exception("%s: a delivery could not be settled", self.reaction.durable)
            let_go(surprise)
            self.context.in_flight.nak(delivery, NAK_SECONDS_MAX)
        finally:
            self._tasks.discard(self._current())

    async def _handle_alone(self, delivery: Delivery) -> None:
        """Its attempts are used up and none of them ended here: it, or another one, killed its process."""
        async with self.context.alone:
            if await last_chance(self.context, self.reaction, delivery):
                await self._settle(delivery)

    async def _settle(self, delivery: Delivery) -> None:
        """Attempt it, again for as long as it is kept."""
        while (self.breaker is None or await self.admitted(delivery)) and await self._attempt(delivery):
            continue

    async def _attempt(self, delivery: Delivery) -> bool:
        """One attempt; True if the delivery is kept for another, when what the reaction needs is back."""
        if not self.context.in_flight.is_sure:
            await self.context.in_flight.certainty()
        envelope, attempt, error = self.open(delivery)
        attempt.make_current()
        if error is None:
            try:
                outcome = await self._react(envelope, attempt)
            except Exception as failure:
                error = failure
            else:
                self.done(delivery, attempt, outcome)
                return False
        return await self.failed(delivery, attempt, error)

    async def _react(self, envelope: Envelope, attempt: Attempt) -> Outcome:
        """Decide and record, anew whenever the recording was refused or its outcome is not known."""
        event = self._event(envelope, attempt)
        guarded = story_subject(self._entity, envelope.key)
        stored = self._expected(guarded)
        place = envelope.delivery.stream, envelope.delivery.sequence, envelope.delivery.timestamp
        outcome = self._unrecorded.get(place)
        rounds = 0
        while rounds < ROUNDS or place in self._unrecorded:
            is_read = stored is None
            try:
                if stored is None:
                    stored = await self._read(guarded, envelope, attempt)
                    if self._is_settled(event, envelope, stored):
                        return self._done(place, Settled())
                if outcome is None or self.reaction.story is not None:
                    # Decided without the story, it stands: deciding again would only send the same mail again.
                    await self._confirm(guarded, envelope, stored)
                    outcome = await self._decide(event, stored)
                if outcome is None:
                    return Nothing()
                await self._record(
                    self.check(outcome), Guard(guarded, last_sequence(stored)), envelope, attempt, stored
                )
            except NotYet:
                if is_read:
                    self._require_a_key(envelope)
                    raise
            except (Refused, Unavailable, Permanent, Disowned) as trouble:
                self._keep_in_mind(place, outcome)
                await self._wait(place, rounds, trouble)
                rounds += 1
            else:
                return self._done(place, EventsRecorded((outcome,)))
            stored = None
        raise Unavailable(f"the story of {event.key} kept changing", 0.1)

    async def _read(self, guarded: str, envelope: Envelope, attempt: Attempt) -> Sequence[Stored]:
        """The story, whose trace what comes from outside joins."""
        stored = await self.context.stories.last(self.service.stream, [guarded])
        if self._is_intake:
            self.join(envelope, attempt, stored)
            attempt.make_current()
        return stored

    async def _confirm(self, guarded: str, envelope: Envelope, stored: Sequence[Stored]) -> None:
        """What was delivered before may be done and recorded already, and the story that was read may lag.

        Raises:
            Refused: the leader knows more.
        """
        if self._doubt is None or envelope.delivery.delivered == 1:
            return
        subject = subject_of(self.reaction.outcomes[0], envelope.key)
        if await self.context.publisher.last_sequence(guarded, subject) != last_sequence(stored):
            raise Refused(f"the story on {guarded} is longer than what was read")

    def _keep_in_mind(self, place: Place, outcome: Event | None) -> None:
        """What was decided without the story is kept until it is recorded: it may be a mail that is out."""
        if outcome is not None and self.reaction.story is None:
            self._unrecorded[place] = outcome
            if len(self._unrecorded) > UNRECORDED_MAX:
                del self._unrecorded[next(iter(self._unrecorded))]

    @staticmethod
    def _require_a_key(envelope: Envelope) -> None:
        """What names no key has one that nobody else knows: nothing that it waits for will ever be recorded under it.

        Raises:
            BrokenContract: it names none.
        """
        delivery = envelope.delivery
        if not delivery.key and envelope.key == delivery.place_id:
            raise BrokenContract(f"{delivery.type}: it is about something that was recorded before, and names no key")

    async def _wait(self, place: Place, rounds: int, trouble: Exception) -> None:
        """Until the next round. What is kept in mind is kept in hand as well, however long the broker takes nothing and
        is away: elsewhere it would be done again."""
        if isinstance(trouble, (Refused, Unknown)):
            await asyncio.sleep(min(0.002 * rounds, ROUND_SECONDS_MAX))
            return
        if not isinstance(trouble, Unavailable) or place not in self._unrecorded:
            raise trouble
        self.conditions.tell(
            ("unrecorded", *reason_of(trouble)), logging.WARNING, "%s waits to record what came of %s %d: %s",
            self.reaction.durable, *place[:2], trouble,
        )  # fmt: skip
        await self.context.connection.pause(growing(trouble.retry_after_seconds, rounds + 1, WAIT_SECONDS_MAX))

    def _done(self, place: Place, how: Outcome) -> Outcome:
        if self._unrecorded:
            self._unrecorded.pop(place, None)
        return how

    def _expected(self, guarded: str) -> Sequence[Stored] | None:
        """The story to decide on without reading it: nothing, where the reaction begins it; what this process recorded
        itself, where the reaction decides by the story. None: it has to be read, as it has to be for what comes from
        outside, which joins its trace."""
        if self.reaction.story is not None:
            return None if self._is_intake else self.context.known.get(guarded)
        return () if self._begins or not self.reaction.outcomes else None

    def _event(self, envelope: Envelope, attempt: Attempt) -> Any:
        """The event that the envelope carries; one from outside that names no key gets one from where it stands."""
        event_type = self.types[envelope.type]
        if not self.reaction.form.only_outside:
            event = read_event(event_type, envelope.data)
            if event.key != envelope.key:
                raise Permanent(f"{event_type.key_field}: {event.key} is not the key of the subject, {envelope.key}")
            return event
        event = read_event(event_type, envelope.data, envelope.delivery.place_id)
        envelope.key = envelope.correlation_id = event.key  # a stranger does not choose whose order it is about
        attempt.is_about(envelope.correlation_id)
        return event

    def _is_settled(self, event: Event, envelope: Envelope, stored: Sequence[Stored]) -> bool:
        """Whether what the service recorded before leaves nothing to decide. A reaction that takes the story judges
        that itself, unless the story is archived."""
        if has_ended(stored):
            return self._is_late(event)
        if stored and self._is_recorded(envelope, stored):
            return True
        if self.reaction.story is not None or not stored:
            return False
        if self.reaction.form.only_outside:
            return self._is_taken(event, envelope, stored)
        if self.reaction.form.begins:
            return True
        return any(message.type in self._declared for message in stored)

    def _is_recorded(self, envelope: Envelope, stored: Sequence[Stored]) -> bool:
        """Whether another version recorded the outcome of this delivery, of a type that this one does not declare."""
        others = [message for message in stored if message.type not in self._declared]
        if not others:
            return False
        outcome_id = self.outcome_id(envelope)
        return any(message.headers.get(CloudEvents.ID) == outcome_id for message in others)

    def _is_late(self, event: Event) -> bool:
        """What comes about an archived story is settled by it.

        Raises:
            Permanent: it would begin the story. Whether it is the same can't be seen any more, and what somebody
                published must not vanish.
        """
        if self._begins and self._is_intake and self.reaction.story is None:
            raise Permanent(f"{event.key}: it has ended, and is archived; publish it under a new key")
        return True

    def _is_taken(self, event: Event, envelope: Envelope, stored: Sequence[Stored]) -> bool:
        """Whether what comes from outside was recorded before: by an earlier delivery of it, as the same contents, or
        without contents, under the id that its publisher gave it. A stranger may choose that id.

        Raises:
            Permanent: other contents stand under its key.
        """
        caused = [message for message in stored if message.headers.get(CloudEvents.CAUSATION_ID) == envelope.id]
        if any(message.headers.get(CloudEvents.BEGAN, envelope.began) == envelope.began for message in caused):
            return True
        same = next((message for message in stored if message.type == envelope.type), None)
        if same is None and not caused:
            raise Permanent(f"{event.key}: {stored[0].type} was recorded before; publish it under a new key")
        if same is not None and read_event(type(event), same.data) != event:
            raise Permanent(f"{event.key}: {envelope.type} was recorded before with other contents")
        return True

    def _decide(self, event: Event, stored: Sequence[Stored]) -> Awaitable[Any]:
        """Call the function with what its signature asks for."""
        arguments = [
            self.dependencies if name == "dependencies" else self.story(stored) for name in self.reaction.arguments
        ]
        return self.call(event, *arguments)

    async def _record(
        self, outcome: Event, guard: Guard, envelope: Envelope, attempt: Attempt, stored: Sequence[Stored]
    ) -> None:
        """Record under the guard of what was decided on, and remember it until the story ends."""
        if outcome.key != envelope.key:
            raise Permanent(f"{type(outcome).__name__} is about {outcome.key}, but the story is that of {envelope.key}")
        message, span = self.message(outcome, envelope, attempt, guard)
        try:
            sequence = await self.context.publisher.record_event(message)
        except (Refused, Unknown):
            self.context.known.forget(guard.subject)
            span.set_attribute(OUTCOME, "refused")
            raise
        finally:
            span.end()
        self.telemetry.recorded(type(outcome), envelope.began, span.get_span_context())
        if type(outcome) in self._endings:
            self.context.known.forget(guard.subject)
        elif self._is_remembered:
            recorded = Stored(message.subject, sequence, "", {}, message.data)
            self.context.known.put(guard.subject, (*stored, recorded))


CLOCK_SECONDS = 1.0
"""How long a deadline waits for the broker's time, which decides it."""


class After(Single):
    """A reaction to an event of one's own, a while later. Its consumer reads the same stream as everybody's, only late:
    events come in the order of their time, so while the first is not due, none is, and nothing has to be scheduled."""

    def __init__(self, *args: Any, delay_seconds: float) -> None:
        super().__init__(*args)
        self.delay_seconds = delay_seconds
        self.rest: Callable[[float], None] = lambda seconds: None

    async def _record(
        self, outcome: Event, guard: Guard, envelope: Envelope, attempt: Attempt, stored: Sequence[Stored]
    ) -> None:
        """What the deadline does is part of the story that it was for."""
        if story := parse_traceparent(envelope.traceparent, envelope.tracestate):
            attempt.join(envelope, story)
            attempt.make_current()
        await super()._record(outcome, guard, envelope, attempt, stored)

    def accept_when_due(self, delivery: Delivery) -> None:
        """The event has happened. It comes again when its time is up, counted from when it was recorded or the mesh was
        restored, by the clock of the broker; until then the pull rests."""
        clock = self.context.connection.clock
        began = self.context.histories.of(delivery.stream).counted_from(delivery.timestamp)
        left = began + self.delay_seconds - clock.now() if clock.is_known else CLOCK_SECONDS
        if left <= 0:
            self.accept(delivery)
            return
        self.rest(left)
        self.context.in_flight.nak(delivery, left)
