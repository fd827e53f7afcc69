"""Reading stories: the last message per subject of a key, straight from the stream (direct get, ADR-31)."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, TypeAdapter, ValidationError

from jetmesh.cloudevents import Headers, decode_headers, read_event
from jetmesh.event import EventType, is_ended
from jetmesh.failure import BrokenContract, BrokerUnavailable
from jetmesh.jetstream.connection import Connection

TIMEOUT_SECONDS = 5.0
SUBJECTS_MAX = 256
"""How many subjects one reading asks for: the server answers at most 1,024 messages to it."""
SUBJECT_BYTES = 160
"""What one of them takes in a request, at most."""


STORIES_MAX = 16_384


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_MARKER = TypeAdapter(dict[str, tuple[int, Annotated[str, AfterValidator(_time)]]])
"""The endings that a marker stands for: where each stood, and when."""


class Stored(NamedTuple):
    """One message of a stream; `event` is what it says, where that is kept (levels that this process recorded)."""

    subject: str
    sequence: int
    time: str
    headers: Headers
    data: bytes
    event: object = None

    @property
    def type(self) -> str:
        """The type that the subject says: its first two tokens."""
        return self.subject.rpartition(".")[0]

    @property
    def key(self) -> str:
        """The key that the subject says: its last token."""
        return self.subject.rpartition(".")[2]

    def endings(self) -> "list[Stored]":
        """Of the marker of an archived story, the endings that it stands for, without what they said; else itself."""
        if not is_ended(self.subject):
            return [self]
        try:
            stood = _MARKER.validate_json(self.data)
        except ValidationError:  # a stranger's, where the broker has no accounts
            return []
        return [Stored(f"{name}.{self.key}", sequence, at, {}, b"{}") for name, (sequence, at) in stood.items()]


@dataclass(slots=True)
class _Reading:
    answer: "asyncio.Future[list[Stored]]"
    messages: list[Stored] = field(default_factory=list)


class StoryReader:
    """Reads the newest message per subject. May be answered by a replica that lags: an absence is no evidence."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox = connection.new_inbox()
        self._readings: dict[str, _Reading] = {}
        self._deadlines: deque[tuple[float, str]] = deque()
        self._count = 0
        self.sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen for answers."""
        await self._connection.listen(f"{self._inbox}.*", self._on_frame)
        self._connection.on_reconnected(self._fail_all)
        self.sweeper = asyncio.create_task(self._sweep(), name="story-deadlines")

    async def close(self) -> None:
        """Stop; whoever still waits is told."""
        if self.sweeper:
            self.sweeper.cancel()
        self._fail_all()

    async def last(self, stream: str, subjects: Sequence[str]) -> list[Stored]:
        """The newest message of every subject that one of `subjects` (wildcards allowed) names, oldest first.

        Raises:
            Unavailable: the stream did not answer, or not completely.
        """
        messages: list[Stored] = []
        step = max(1, min(SUBJECTS_MAX, self._connection.max_payload // SUBJECT_BYTES))
        for start in range(0, len(subjects), step):
            messages += await self._read(stream, subjects[start : start + step])
        return messages

    async def _read(self, stream: str, subjects: Sequence[str]) -> list[Stored]:
        self._count += 1
        token = str(self._count)
        reading = self._readings[token] = _Reading(asyncio.get_running_loop().create_future())
        self._deadlines.append((time.monotonic() + TIMEOUT_SECONDS, token))
        try:
            request = json.dumps({"multi_last": list(subjects)}).encode()
            self._connection.send(self._connection.api(f"DIRECT.GET.{stream}"), request, reply=f"{self._inbox}.{token}")
            return await reading.answer
        finally:
            self._readings.pop(token, None)

    def _on_frame(self, subject: str, _reply: str, raw: bytes, data: bytes) -> None:
        reading = self._readings.get(subject[len(self._inbox) + 1 :])
        if reading is None or reading.answer.done():
            return
        if raw.startswith(b"NATS/1.0 "):
            self._finish(reading, raw[9:12], raw)
            return
        headers = decode_headers(raw)
        reading.messages.append(
            Stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"], headers, data)
        )

    def _finish(self, reading: _Reading, status: bytes, raw: bytes) -> None:
        if status == b"404":
            reading.answer.set_result([])
        elif status == b"204" and decode_headers(raw).get("Nats-Num-Pending", "0") == "0":
            reading.answer.set_result(reading.messages)
        else:
            words = raw.decode("utf-8", "replace").splitlines()[0]
            reading.answer.set_exception(BrokerUnavailable(f"the story could not be read: {words}", 0.25))

    def _fail_all(self) -> None:
        self._fail(list(self._readings.values()), "the connection was lost while the story was read")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            late = []
            while self._deadlines and self._deadlines[0][0] < now:
                late.append(self._readings.get(self._deadlines.popleft()[1]))
            self._fail([reading for reading in late if reading], "the stream did not answer a reading in time")

    @staticmethod
    def _fail(readings: Iterable[_Reading], reason: str) -> None:
        for reading in readings:
            if not reading.answer.done():
                reading.answer.set_exception(BrokerUnavailable(reason, 0.25))


class KnownStories:
    """What this process recorded itself, by the subject of its guard: it need not be read back to decide on.

    Another replica may have gone on with a story meanwhile; the guard finds out, and the story is read then.
    """

    def __init__(self, stories_max: int = STORIES_MAX) -> None:
        self._stories: dict[str, tuple[Stored, ...]] = {}
        self._stories_max = stories_max

    def get(self, subject: str) -> tuple[Stored, ...] | None:
        """The story as it was last known; None where nothing is."""
        return self._stories.get(subject)

    def put(self, subject: str, story: Iterable[Stored]) -> None:
        """The story as it is now; the one that was put first is forgotten for it."""
        self._stories.pop(subject, None)
        self._stories[subject] = tuple(story)
        if len(self._stories) > self._stories_max:
            del self._stories[next(iter(self._stories))]

    def forget(self, subject: str) -> None:
        """The story has gone on elsewhere."""
        self._stories.pop(subject, None)

    def forget_all(self) -> None:
        """The streams may be others now, with other events under the same sequences."""
        self._stories.clear()


def events_of(stored: Iterable[Stored], types: dict[str, EventType]) -> list[object]:
    """The events among the stored messages whose type is known, oldest first.

    Raises:
        BrokenContract: naming the one that can't be read.
    """
    known = [(types[message.type], message) for message in stored if message.type in types]
    try:
        return [message.event or event_type.read(message.data) for event_type, message in known]
    except ValueError:
        raise BrokenContract(f"the story can't be read: {_unreadable(known)}") from None


def _unreadable(known: Iterable[tuple[EventType, Stored]]) -> str:
    for event_type, message in known:
        try:
            read_event(event_type, message.data)
        except BrokenContract as broken:
            return f"{message.subject}, at {message.sequence}: {broken}"
    return "nobody knows why"


def has_ended(stored: Iterable[Stored]) -> bool:
    """Whether the story is archived: nothing that comes about its key is to be decided any more."""
    return any(is_ended(message.subject) for message in stored)


def last_sequence(stored: Sequence[Stored]) -> int:
    """The sequence that a guard over all of them expects: that of the newest; 0 where there is none."""
    return max([message.sequence for message in stored]) if stored else 0
