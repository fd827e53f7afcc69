"""The reading of one attempt at a batch: what a reaction to many events reads becomes the guards of its commit."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jetmesh.event import Event, EventType, entity_of
from jetmesh.jetstream.direct_get import DirectGet, Stored, last_sequence
from jetmesh.jetstream.message import Guard, Message
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.runtime.stories import KnownStories, events_of, has_ended


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

    reader: DirectGet
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
        if ended := {key for key, stored in found.items() if stored and has_ended(stored)}:
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
        """The batch was refused, or its outcome is unknown: read the levels again."""
        for level_subject, level in self.levels.items():
            self.known.forget(story_subject(entity_of(level), level_subject.rpartition(".")[2]))

    async def _last(self, entity: str, keys: Iterable[str]) -> dict[str, list[Stored]]:
        subjects = {key: story_subject(entity, key) for key in keys}
        by_key: dict[str, list[Stored]] = {key: [] for key in subjects}
        for message in await self.reader.last(self.stream, [*subjects.values()]) if subjects else ():
            by_key[message.key].append(message)
        for key, subject in subjects.items():
            self._guard(subject, by_key[key])
            self.read[subject] = by_key[key]
        return by_key

    def _guard(self, subject: str, stored: Sequence[Stored]) -> None:
        """Of a key whose story is read twice the first reading counts: the decision rests on it."""
        sequence = last_sequence(stored)
        if subject in self.guards:
            sequence = min(sequence, self.guards[subject].sequence)
        self.guards[subject] = Guard(subject, sequence)
