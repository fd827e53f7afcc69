"""Direct get (ADR-31): messages read from a stream without a consumer, from any replica."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, TypeAdapter, ValidationError

from jetmesh.common import json_body
from jetmesh.failure import BrokerUnavailable, Denied
from jetmesh.jetstream.headers import Headers, Nats, decode_headers
from jetmesh.jetstream.inbox import Inbox
from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.subject import is_marker, key_in
from jetmesh.jetstream.transport import Transport

TIMEOUT_SECONDS = 5.0
PATIENT_SECONDS = 30.0
"""The time-out for long reads outside of reactions."""
ANSWERS_MAX = 1_000
"""How many messages one request may bring: the server answers at most 1,024 to it."""
EACH = 4
"""How many subjects a pattern matches at most, by default."""
SUBJECT_BYTES = 160
"""The bytes of one subject in a request, at most."""

Frame = tuple[bytes, bytes]
"""The header block of a message as the server sends it, with the lines that it adds, and the body."""


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_MARKER = TypeAdapter(dict[str, tuple[int, Annotated[str, AfterValidator(_time)]]])
"""The endings in a marker: the sequence and time of each."""


class Stored(NamedTuple):
    """One message of a stream; `event` is its decoded event if that is cached (levels that this process recorded)."""

    subject: str
    sequence: int
    time: str
    headers: Headers
    data: bytes
    event: object = None

    @property
    def type(self) -> str:
        """The type of event: the first two tokens of the subject."""
        entity, _, rest = self.subject.partition(".")
        return f"{entity}.{rest.partition('.')[0]}"

    @property
    def key(self) -> str:
        """The key: the third token of the subject."""
        return key_in(self.subject)

    @property
    def is_occurrence(self) -> bool:
        """Whether its subject has a fourth token, which tells it from others about its key: it is in no story."""
        return self.subject.count(".") > 2

    @property
    def document(self) -> Mapping[str, Any]:
        """The event's body; empty if the message has none."""
        try:
            said = json_body.document(self.data)
        except json_body.Malformed:
            return {}
        return said if isinstance(said, dict) else {}

    def endings(self) -> "list[Stored]":
        """For the marker of an archived story its endings, without their bodies; else the message itself."""
        if not is_marker(self.subject):
            return [self]
        try:
            stood = _MARKER.validate_json(self.data)
        except ValidationError:  # another client's, if the broker has no accounts
            return []
        return [Stored(f"{name}.{self.key}", sequence, at, {}, b"{}") for name, (sequence, at) in stood.items()]


class Page(NamedTuple):
    """Messages in the order of the stream, and how many follow."""

    messages: list[Stored]
    pending: int


class NobodyAnswers(BrokerUnavailable):
    """There is no such stream for this user, or it has no leader."""


class _Answer:
    """The messages that one request got, and its end: the number of messages left. One for a `single` message has no
    end of its own."""

    __slots__ = ("end", "frames", "is_single", "stream", "subject")

    def __init__(self, stream: str, subject: str, *, single: bool) -> None:
        self.stream, self.subject, self.is_single = stream, subject, single
        self.frames: list[Frame] = []
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def heard(self, headers: bytes, data: bytes) -> None:
        """Take one more message, or the end."""
        status = Status.of(headers)
        if status is None:
            self.frames.append((headers, data))
            if self.is_single and not self.end.done():
                self.end.set_result(0)
        elif self.end.done():
            return
        elif status.kind in (StatusKind.END, StatusKind.NOTHING):
            self.end.set_result(int(decode_headers(headers).get(Nats.NUM_PENDING) or 0))
        else:
            error = NobodyAnswers if status.kind is StatusKind.NO_RESPONDERS else BrokerUnavailable
            self.end.set_exception(error(f"the stream {self.stream} could not be read: {status}", 0.25))

    def fail(self, reason: str) -> None:
        """End it with an error."""
        if not self.end.done():
            self.end.set_exception(BrokerUnavailable(f"the stream {self.stream} could not be read: {reason}", 0.25))

    def denied(self, text: str) -> None:
        """The server denied a subject, in these words (in lower case): perhaps this one, which nobody answers then."""
        if f'"{self.subject.lower()}"' in text and not self.end.done():
            self.end.set_exception(Denied(f"the stream {self.stream} could not be read: {text}", 1.0))


class DirectGet:
    """Reads messages of streams. A replica that lags may answer: that a message is missing proves nothing."""

    def __init__(self, connection: Transport, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._connection = connection
        self._inbox = Inbox[_Answer](
            connection,
            timeout_seconds,
            heard=_Answer.heard,
            late=lambda reading: reading.fail(f"no answer within {timeout_seconds:g} s"),
            lost=lambda reading: reading.fail("the connection was lost meanwhile"),
        )

    @property
    def sweeper(self) -> "asyncio.Task[None] | None":
        """The task that ends requests without an answer in time."""
        return self._inbox.sweeper

    async def start(self) -> None:
        """Listen for answers."""
        await self._inbox.start("direct-get-deadlines")

    def fail_denied(self) -> None:
        """From now on, fail at once what the server denies this user."""
        self._connection.on_denied(self._on_denied)

    def close(self) -> None:
        """Stop; waiting callers get an error."""
        self._inbox.stop()

    async def leave(self) -> None:
        """Close, and unsubscribe: the connection goes on without it."""
        await self._inbox.leave()

    async def last(self, stream: str, subjects: Sequence[str], each: int = EACH) -> list[Stored]:
        """The newest message of every subject that one of `subjects` (wildcards allowed, each for at most so many)
        names, oldest first.

        Raises:
            Unavailable: the stream did not answer, or not completely.
        """
        return [_stored(headers, data) for headers, data in await self.last_frames(stream, subjects, each)]

    async def last_frames(self, stream: str, subjects: Sequence[str], each: int = EACH) -> list[Frame]:
        """The same, as the server sent them."""
        frames: list[Frame] = []
        step = max(1, min(ANSWERS_MAX // each, self._connection.limits.payload_bytes_max // SUBJECT_BYTES))
        for start in range(0, len(subjects), step):
            found, pending = await self._request(stream, {"multi_last": subjects[start : start + step]})
            if pending:
                raise BrokerUnavailable(f"the stream {stream} was read in part: {pending} messages are missing", 0.25)
            frames += found
        return frames

    async def page(self, stream: str, subject: str, first: int, batch: int, bytes_max: int = 0) -> Page:
        """The messages on a subject (wildcards allowed) from a sequence on, at most so many, and so many bytes.

        Raises:
            NobodyAnswers: there is no such stream, or it has no leader.
            Unavailable: the stream did not answer.
        """
        wanted = {"seq": first, "batch": batch, "next_by_subj": subject}
        frames, pending = await self._request(stream, wanted | ({"max_bytes": bytes_max} if bytes_max else {}))
        return Page([_stored(headers, data) for headers, data in frames], pending)

    async def first_since(self, stream: str, moment: datetime) -> int | None:
        """The sequence of the first message that was stored at a time or later; None if there is none.

        Raises:
            Unavailable: the stream did not answer.
        """
        wanted = {"start_time": moment.isoformat(), "batch": 1, "next_by_subj": ">"}
        frames, _ = await self._request(stream, wanted)
        return _stored(*frames[0]).sequence if frames else None

    async def newest(self, stream: str, subject: str, *, named: bool = False) -> Stored | None:
        """The newest message on a subject (wildcards allowed). With `named` the request has it in its own subject: so
        may a user ask whom permissions let read this subject of the stream alone.

        Raises:
            NobodyAnswers: there is no such stream, or it has no leader.
            Denied: this user may not read it.
            Unavailable: the stream did not answer.
        """
        if named:
            frames, _ = await self._ask(stream, f"{stream}.{subject}", b"", single=True)
        else:
            frames, _ = await self._request(stream, {"last_by_subj": subject}, single=True)
        return _stored(*frames[0]) if frames else None

    async def _request(self, stream: str, wanted: dict[str, Any], *, single: bool = False) -> tuple[list[Frame], int]:
        return await self._ask(stream, stream, json.dumps(wanted).encode(), single=single)

    async def _ask(self, stream: str, place: str, wanted: bytes, *, single: bool) -> tuple[list[Frame], int]:
        subject = self._connection.api(f"DIRECT.GET.{place}")
        reading = _Answer(stream, subject, single=single)
        reply = self._inbox.open(reading)
        try:
            self._connection.send(subject, wanted, reply=reply)
            return reading.frames, await reading.end
        finally:
            self._inbox.close(reply)

    def _on_denied(self, text: str) -> None:
        for request in list(self._inbox.requests):
            request.denied(text)


@asynccontextmanager
async def reading(connection: Transport, timeout_seconds: float = PATIENT_SECONDS) -> AsyncIterator[DirectGet]:
    """A direct get with a long time-out, for the block."""
    reader = DirectGet(connection, timeout_seconds)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.leave()


def _stored(block: bytes, data: bytes) -> Stored:
    headers = decode_headers(block)
    return Stored(headers[Nats.SUBJECT], int(headers[Nats.SEQUENCE]), headers[Nats.TIME_STAMP], headers, data)


def last_sequence(stored: Sequence[Stored]) -> int:
    """The sequence that a guard over all of them expects: that of the newest; 0 where there is none."""
    return max([message.sequence for message in stored]) if stored else 0
