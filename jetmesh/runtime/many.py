"""Reactions to many deliveries at once: decided together on one reading, recorded in one atomic commit."""

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.trace import Span

from jetmesh.cloudevents import Envelope, read_event
from jetmesh.event import Event, EventType, entity_of
from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.direct_get import Stored, StoryReader, last_sequence
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.outcome import EventsRecorded, NextBatch, Settled
from jetmesh.runtime.batching import Batching
from jetmesh.runtime.crash_guard import is_suspect, last_chance
from jetmesh.runtime.stories import KnownStories, events_of, has_ended
from jetmesh.telemetry.spans import OUTCOME, Attempt

DELIVERIES_MAX = 256
ROUNDS = 8


@dataclass(slots=True)
class Arrival:
    """One delivery of a batch, understood."""

    envelope: Envelope
    attempt: Attempt
    event: Event

    @property
    def delivery(self) -> Delivery:
        return self.envelope.delivery


class Archived(Exception):
    """The stories of these keys have ended and are archived: there is nothing to decide about them."""

    def __init__(self, keys: Collection[str]) -> None:
        super().__init__(", ".join(sorted(keys)))
        self.keys = frozenset(keys)


@dataclass(slots=True)
class Reading:
    """The Snapshot of one attempt at one batch: everything read becomes a guard of its commit.

    A level that this process recorded last need not be read back: another replica may have gone on with it, and the
    guard finds out.
    """

    reader: StoryReader
    known: KnownStories
    stream: str
    fold: Any
    guards: dict[str, Guard] = field(default_factory=dict)
    levels: dict[str, EventType] = field(default_factory=dict)
    read: dict[str, Sequence[Stored]] = field(default_factory=dict)
    """The stories that were read, by the subject of their guard."""

    async def stories(self, state: type, event: EventType, keys: Iterable[str]) -> Mapping[str, Any]:
        """The service's own story of each key.

        Raises:
            Archived: those of some keys have ended; the batch is decided again without them.
        """
        found = await self._last(entity_of(event), keys)
        if ended := {key for key, stored in found.items() if has_ended(stored)}:
            raise Archived(ended)
        return {key: self.fold(state, stored) for key, stored in found.items()}

    async def latest(self, level: EventType, keys: Iterable[str]) -> Mapping[str, Any]:
        """The newest event of a state type for each key that has one."""
        entity = entity_of(level)
        by_key = {key: self.known.get(story_subject(entity, key)) for key in keys}
        read = await self._last(entity, [key for key, stored in by_key.items() if stored is None])
        found = {key: read[key] if stored is None else stored for key, stored in by_key.items()}
        for key, stored in found.items():
            self._guard(story_subject(entity, key), stored)
            self.levels[subject_of(level, key)] = level
        messages = {key: next((m for m in stored if m.type == level.type), None) for key, stored in found.items()}
        return {key: events_of([message], {level.type: level})[0] for key, message in messages.items() if message}

    def recorded(self, messages: Sequence[Message], outcomes: Sequence[Event], last: int) -> None:
        """The commit was stored, up to the sequence `last`: remember the levels."""
        first = last - len(messages) + 1
        for sequence, (message, outcome) in enumerate(zip(messages, outcomes, strict=True), first):
            if message.guard and message.subject in self.levels:
                stored = Stored(message.subject, sequence, "", {}, message.data, outcome)
                self.known.put(message.guard.subject, [stored])

    def forget(self) -> None:
        """The commit was refused, or nobody knows: read the levels anew."""
        for level_subject, level in self.levels.items():
            self.known.forget(story_subject(entity_of(level), level_subject.rpartition(".")[2]))

    async def _last(self, entity: str, keys: Iterable[str]) -> dict[str, list[Stored]]:
        by_key: dict[str, list[Stored]] = {key: [] for key in keys}
        subjects = [story_subject(entity, key) for key in by_key]
        for message in await self.reader.last(self.stream, subjects) if subjects else ():
            by_key[message.key].append(message)
        for key, stored in by_key.items():
            self._guard(story_subject(entity, key), stored)
            self.read[story_subject(entity, key)] = stored
        return by_key

    def _guard(self, subject: str, stored: Sequence[Stored]) -> None:
        """Of a key whose story is read twice, what was seen first counts: part of the decision rests on it."""
        sequence = last_sequence(stored)
        if subject in self.guards:
            sequence = min(sequence, self.guards[subject].sequence)
        self.guards[subject] = Guard(subject, sequence)


class Prepared(NamedTuple):
    """One event of a commit, with the time at which its story began and the span of recording it."""

    type: EventType
    began: str
    message: Message
    span: Span


class Many(Batching):
    """Takes whatever waits, at most one delivery of a key, and decides it in one go."""

    async def batch_max(self) -> int:
        """All that the decision takes at once; one, while a circuit breaker finds out whether what it needs is back."""
        if self.breaker and not await self.breaker.admission():
            return 0
        return DELIVERIES_MAX if self.breaker is None or self.breaker.is_closed else 1

    async def handle(self, batch: list[Delivery]) -> None:
        """Decide the batch, at most one delivery of a key; then, each alone, what may have killed its process."""
        suspects = [delivery for delivery in batch if is_suspect(self.reaction, delivery)]
        random.shuffle(suspects)  # or those behind the one that kills would never have their turn
        await self._handle_together([delivery for delivery in batch if not is_suspect(self.reaction, delivery)])
        for delivery in suspects:
            async with self.context.alone:
                if await last_chance(self.context, self.reaction, delivery):
                    await self._handle_together([delivery])

    async def _handle_together(self, batch: list[Delivery]) -> None:
        arrivals: dict[str, Arrival] = {}
        for delivery in batch:
            arrival = await self._arrive(delivery)
            if arrival is None:
                continue
            if arrival.event.key in arrivals:  # wildcard guards of one key do not see each other inside a batch
                arrival.attempt.end(NextBatch())
                self.waiting.insert(0, delivery)
            else:
                arrivals[arrival.event.key] = arrival
        if arrivals:
            await self._decide_all(list(arrivals.values()))

    async def _arrive(self, delivery: Delivery) -> Arrival | None:
        envelope, attempt, error = self.open(delivery)
        if error is None:
            try:
                event = self._event(envelope)
                if not delivery.key:
                    attempt.is_about(envelope.correlation_id)
                return Arrival(envelope, attempt, event)
            except Permanent as broken:
                error = broken
        await self.failed(delivery, attempt, error)
        return None

    def _event(self, envelope: Envelope) -> Event:
        event_type = self.types[envelope.type]
        delivery = envelope.delivery
        event: Event = read_event(event_type, envelope.data, "" if delivery.key else delivery.place_id)
        if delivery.key and event.key != delivery.key:
            raise Permanent(f"{event_type.key_field}: {event.key} is not the key of the subject, {delivery.key}")
        if not delivery.key:
            envelope.key = envelope.correlation_id = event.key
        return event

    async def _decide_all(self, arrivals: list[Arrival]) -> None:
        """Decide and record the batch; one that fails is taken apart, so that a poisoned delivery is alone with it."""
        await self.context.in_flight.certainty()
        try:
            recorded = await self._commit(arrivals)
        except Exception as error:
            if len(arrivals) == 1 or isinstance(error, Unavailable):
                for arrival in arrivals:
                    await self._failed(arrival, error)
                return
            middle = len(arrivals) // 2
            await self._decide_all(arrivals[:middle])
            await self._decide_all(arrivals[middle:])
        else:
            for arrival in arrivals:
                events = recorded.get(arrival.event.key)
                outcome = EventsRecorded(tuple(events)) if events else Settled()
                self.done(arrival.delivery, arrival.attempt, outcome)

    async def _failed(self, arrival: Arrival, error: Exception) -> None:
        if await self.failed(arrival.delivery, arrival.attempt, error):
            self.accept(arrival.delivery)

    async def _commit(self, arrivals: list[Arrival]) -> Mapping[str, list[Event]]:
        """What was recorded, by key."""
        for attempt in range(ROUNDS):
            reading = Reading(self.context.stories, self.context.known, self.service.stream, self.fold)
            try:
                outcomes = [self.check(outcome) for outcome in await self._decide(arrivals, reading)]
            except Archived as archived:
                arrivals = self._without(archived, arrivals)
                outcomes = []
                if arrivals:
                    continue
            if not outcomes:
                return {}
            commit = self._prepared(outcomes, arrivals, reading)
            try:
                messages = [prepared.message for prepared in commit]
                reading.recorded(messages, outcomes, await self.context.publisher.record_all(messages))
            except (Refused, Unknown):
                reading.forget()
                for prepared in commit:
                    prepared.span.set_attribute(OUTCOME, "refused")
                await asyncio.sleep(0.002 * attempt)
            else:
                for prepared in commit:
                    self.telemetry.recorded(prepared.type, prepared.began, prepared.span.get_span_context())
                return _by_key(outcomes)
            finally:
                for prepared in commit:
                    prepared.span.end()
        raise Unavailable("what the batch read kept changing", 0.1)

    def _without(self, archived: Archived, arrivals: list[Arrival]) -> list[Arrival]:
        """The arrivals about which there is something to decide.

        Raises:
            Permanent: the reaction read a story that ended, about a key that nothing has arrived about.
        """
        if strange := archived.keys - {arrival.event.key for arrival in arrivals}:
            raise Permanent(f"{self.reaction.durable} decides by {', '.join(sorted(strange))}, which is archived")
        return [arrival for arrival in arrivals if arrival.event.key not in archived.keys]

    async def _decide(self, arrivals: list[Arrival], reading: Reading) -> list[Any]:
        filled = {"snapshot": reading, "dependencies": self.dependencies}
        arguments = [filled[name] for name in self.reaction.arguments]
        outcomes: list[Any] = await self.call([arrival.event for arrival in arrivals], *arguments)
        return outcomes

    def _prepared(self, outcomes: list[Event], arrivals: list[Arrival], reading: Reading) -> list[Prepared]:
        """Each outcome under the guard of what was read about its key, with the delivery of its key as its cause. One
        that has no delivery of its own is caused by one that is told about now: what was told about before, and came
        again, has given its ids away."""
        if len(outcomes) > BATCH_MAX:
            raise Permanent(f"{len(outcomes)} events are more than the {BATCH_MAX} of one atomic batch")
        causes = {arrival.event.key: arrival for arrival in arrivals}
        told = [causes[outcome.key] for outcome in outcomes if outcome.key in causes]
        commit = []
        for index, outcome in enumerate(outcomes):
            cause = causes.get(outcome.key, (told or arrivals)[-1])
            guard = reading.guards.get(story_subject(entity_of(type(outcome)), outcome.key))
            if guard is None:
                raise Permanent(f"{self.reaction.durable} decided about {outcome.key} without reading its story")
            if not cause.delivery.key and outcome.key == cause.event.key:
                self.join(cause.envelope, cause.attempt, reading.read.get(guard.subject, ()))
            message, span = self.message(outcome, cause.envelope, cause.attempt, guard, index)
            commit.append(Prepared(type(outcome), cause.envelope.began, message, span))
        self._check_levels(commit, reading)
        return commit

    def _check_levels(self, commit: list[Prepared], reading: Reading) -> None:
        forgotten = reading.levels.keys() - {prepared.message.subject for prepared in commit}
        if forgotten:
            raise Permanent(
                f"{self.reaction.durable} read {', '.join(sorted(forgotten))} and does not record it again; what a "
                f"decision rests on is guarded only if it is part of the commit"
            )


def _by_key(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event)
    return found
