"""Reading stories: the last message per subject of a key, straight from the stream (direct get, ADR-31)."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, TypeAdapter, ValidationError

from jetmesh.common import json_body
from jetmesh.failure import BrokerUnavailable
from jetmesh.jetstream.headers import Headers, Nats, decode_headers
from jetmesh.jetstream.status import Kind, Status
from jetmesh.jetstream.subject import is_marker
from jetmesh.jetstream.transport import Transport

TIMEOUT_SECONDS = 5.0
SUBJECTS_MAX = 256
"""How many subjects one reading asks for: the server answers at most 1,024 messages to it."""
SUBJECT_BYTES = 160
"""What one of them takes in a request, at most."""


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

    @property
    def document(self) -> Mapping[str, Any]:
        """The event's body; empty where somebody wrote none into the stream."""
        try:
            said = json_body.document(self.data)
        except json_body.Malformed:
            return {}
        return said if isinstance(said, dict) else {}

    def endings(self) -> "list[Stored]":
        """Of the marker of an archived story, the endings that it stands for, without what they said; else itself."""
        if not is_marker(self.subject):
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

    def __init__(self, connection: Transport) -> None:
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
        step = max(1, min(SUBJECTS_MAX, self._connection.limits.payload_bytes_max // SUBJECT_BYTES))
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
        if status := Status.of(raw):
            self._finish(reading, status, raw)
            return
        headers = decode_headers(raw)
        reading.messages.append(
            Stored(headers[Nats.SUBJECT], int(headers[Nats.SEQUENCE]), headers[Nats.TIME_STAMP], headers, data)
        )

    def _finish(self, reading: _Reading, status: Status, raw: bytes) -> None:
        if status.kind is Kind.NOTHING:
            reading.answer.set_result([])
        elif status.kind is Kind.END and decode_headers(raw).get(Nats.NUM_PENDING, "0") == "0":
            reading.answer.set_result(reading.messages)
        else:
            reading.answer.set_exception(BrokerUnavailable(f"the story could not be read: {status}", 0.25))

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


def last_sequence(stored: Sequence[Stored]) -> int:
    """The sequence that a guard over all of them expects: that of the newest; 0 where there is none."""
    return max([message.sequence for message in stored]) if stored else 0
