"""Publishing to JetStream: alone or as an atomic batch (ADR-50), each publish acknowledged.

To *publish* is to send a message to a subject. To *record* an event is more: it is published under a guard, and it
counts once the broker has acknowledged that it is stored. What `runtime/publish.py` records begins with a request from
outside, not with a delivery.

Recording is the point of no return of every reaction. The server refuses a second writer under the guard, for as long
as the event is kept; the acknowledgement of the delivery that caused it is only a hint afterwards.
"""

import asyncio
import json
import re
import uuid
from collections import deque
from collections.abc import Sequence

from jetmesh.failure import BrokerUnavailable, Denied, Permanent, TooLarge, Unavailable, growing
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.errors import ApiError, ErrorCode
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.inbox import Inbox
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.storing import Storing
from jetmesh.jetstream.transport import Transport

REFUSALS = frozenset(
    {
        ErrorCode.WRONG_LAST_SEQUENCE,
        ErrorCode.WRONG_LAST_SEQUENCE_CONSTANT,
        ErrorCode.DUPLICATE_MESSAGE_CONFLICT,
        ErrorCode.ATOMIC_PUBLISH_DUPLICATE_MESSAGE,
        ErrorCode.ATOMIC_PUBLISH_INCOMPLETE_BATCH,
    }
)
"""Refusals after which the story is read again: another writer recorded or is in flight, or the batch failed."""
TOO_LARGE = frozenset({ErrorCode.MESSAGE_EXCEEDS_MAXIMUM, ErrorCode.HEADER_EXCEEDS_MAXIMUM})
"""Refusals that are permanent: the message is larger than `max_msg_size`, or its headers than JetStream stores."""
NEVER = frozenset(
    {
        ErrorCode.MESSAGE_TTL_INVALID,
        ErrorCode.ATOMIC_PUBLISH_UNSUPPORTED_HEADER,
        ErrorCode.ATOMIC_PUBLISH_INVALID_BATCH_ID,
        ErrorCode.ATOMIC_PUBLISH_TOO_LARGE_BATCH,
        ErrorCode.SCHEDULES_PATTERN_INVALID,
        ErrorCode.SCHEDULES_TARGET_INVALID,
        ErrorCode.SCHEDULES_TTL_INVALID,
        ErrorCode.SCHEDULES_ROLLUP_INVALID,
        ErrorCode.SCHEDULES_SOURCE_INVALID,
        ErrorCode.SCHEDULES_SCHEDULER_INVALID,
        ErrorCode.SCHEDULES_TIME_ZONE_INVALID,
        ErrorCode.EXPECTED_LAST_SEQUENCE_INVALID,
    }
)
"""Permanent too: the message's schedule, TTL or batch is invalid. Every other refusal is temporary (a full stream or
account, a wrong setting of the broker): an effect outside must not be given up for it."""
_SEQUENCE = re.compile(rb'\{"stream":"[^"]*", ?"seq":(\d+)')
_WRONG_SEQUENCE = re.compile(r"wrong last sequence: (\d+)")
NO_SEQUENCE = 2**62
TIMEOUT_SECONDS = 5.0
NO_STREAM = "no stream takes this subject, or it has no leader"
SILENT = "it does not answer; its log and /healthz say why, and a write error lasts until it is restarted"
ASK_AGAIN_SECONDS = 0.25
WINDOW = 1024
LARGE_BYTES = 4_096
"""A broker whose largest message is smaller can't serve a mesh."""
BATCH_MAX = 1000

Publish = tuple[str, "asyncio.Future[bytes]"]
"""One that waits for its acknowledgement: the subject, and the answer."""


class Publisher:
    """Publishes to JetStream and waits until each message is stored, at most `WINDOW` of them at a time."""

    def __init__(self, connection: Transport) -> None:
        self._connection = connection
        self._inbox = Inbox[Publish](connection, TIMEOUT_SECONDS, self._heard, self._late, self._lost)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.refused = 0
        self.storing = Storing()

    async def start(self) -> None:
        """Listen for acknowledgements."""
        await self._inbox.start("publisher-deadlines")
        self._connection.on_reconnected(self.storing.forget)
        self._connection.on_denied(self._on_denied)

    @property
    def sweeper(self) -> "asyncio.Task[None] | None":
        """The task that ends a publish without an answer in time."""
        return self._inbox.sweeper

    @property
    def clock(self) -> BrokerClock:
        """The time of the broker that stores what is recorded."""
        return self._connection.clock

    @property
    def payload_bytes_max(self) -> int:
        """The server's limit for headers and body together."""
        return int(self._connection.limits.payload_bytes_max)

    async def close(self) -> None:
        """Stop; callers that wait get Unknown."""
        self._inbox.stop()

    async def record(self, message: Message, *, limited: bool = True, block: bytes = b"") -> int:
        """Store one message; its sequence in the stream. `block` is its header block, where that is encoded already.

        Raises:
            Refused: the guard did not hold.
            Unknown: no answer in time; the message may be stored.
            Unavailable: the broker does not take it now.
            TooLarge: it is more than the broker or the stream takes.
            Permanent: the message can never be stored.
        """
        subject, headers = message.subject, block or message.encoded(limited=limited)
        while len(self._inbox) >= WINDOW:
            await self._room()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        reply = self._inbox.open((subject, answer))
        try:
            self._connection.send(subject, message.data, reply=reply, headers=headers)
            return self._sequence(subject, await answer)
        finally:
            self._inbox.close(reply)
            if self._waiting:
                self._let_in()

    async def last_sequence(self, guarded: str, subject: str) -> int:
        """The last sequence on `guarded`, as the stream's leader knows it: a story may be read from a replica that
        lags. The leader reports it when it refuses a guard that can't hold; `subject` is one that may be recorded on.

        Raises:
            Refused: another process is recording there now.
            Unavailable: the broker does not answer.
        """
        try:
            await self.record(Message(subject, b"", {}, Guard(guarded, NO_SEQUENCE)))
        except Refused as refused:
            self.refused -= 1
            if refused.last_sequence is None:
                raise
            return refused.last_sequence
        raise Unknown(f"the broker stored what stands on no {guarded}")

    async def record_surely(self, message: Message) -> int:
        """Store one message under its guard, whatever its size, and try until an answer comes. Refused: it is stored
        already, perhaps by an earlier try whose answer was lost.

        Raises what `record` raises, but for Unknown.
        """
        attempt = 0
        while True:
            try:
                return await self.record(message, limited=False)
            except Unavailable as trouble:
                if attempt == 0 and not isinstance(trouble, Unknown):
                    raise
            attempt += 1
            await self._connection.pause(growing(ASK_AGAIN_SECONDS, attempt, TIMEOUT_SECONDS))

    async def record_all(self, messages: Sequence[Message]) -> int:
        """Store all messages of one stream or none, each under its guard; the sequence of the last.

        A single message is atomic by itself and goes without a batch.
        """
        if len(messages) == 1:
            return await self.record(messages[0])
        batch, last = uuid.uuid4().hex, len(messages)
        blocks = [message.encoded(_batch_lines(batch, n, last)) for n, message in enumerate(messages, 1)]
        if max(map(len, blocks)) + max([len(message.data) for message in messages]) > LARGE_BYTES:
            for message, block in zip(messages, blocks, strict=True):  # if one does not fit, none is sent
                self._connection.limits.require(message.subject, len(block), len(message.data))
        for message, block in zip(messages[:-1], blocks[:-1], strict=True):
            self._connection.send(message.subject, message.data, headers=block)
        return await self.record(messages[-1], block=blocks[-1])

    async def _room(self) -> None:
        """Wait until one of the open answers arrives."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _let_in(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _sequence(self, subject: str, answer: bytes) -> int:
        """Read a PubAck, or raise what its error means."""
        if plain := _SEQUENCE.match(answer):
            if self.storing:
                self.storing.stored(subject)
            return int(plain[1])
        try:
            ack = json.loads(answer)
            error = ack.get("error")
            if error is None:
                return int(ack["seq"])
            refusal = ApiError.of(error)
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise Unknown("the answer is not JetStream's: another client answers on this subject") from None
        raise self._meaning(subject, refusal) from refusal

    def _meaning(self, subject: str, refusal: ApiError) -> Exception:
        """The error for a refusal."""
        code = refusal.error_code
        if code in REFUSALS:
            self.refused += 1
            return Refused(str(refusal), _last_sequence(refusal))
        if code in TOO_LARGE:
            return TooLarge(f"the broker refuses the message: {refusal}")
        if code in NEVER:
            return Permanent(f"the broker refuses the message: {refusal}")
        if code in (ErrorCode.STORE_FAILED, ErrorCode.STORAGE_RESOURCES_EXCEEDED):
            self.storing.failed(subject, str(refusal), is_full=code == ErrorCode.STORE_FAILED)
        pause = 0.05 if code == ErrorCode.ATOMIC_PUBLISH_TOO_MANY_INFLIGHT else 1.0
        return BrokerUnavailable(f"the broker does not take it: {refusal}", pause)

    def _heard(self, publish: Publish, headers: bytes, data: bytes) -> None:
        subject, answer = publish
        if answer.done():
            return
        status = Status.of(headers) if headers else None
        if status and status.kind is StatusKind.NO_RESPONDERS:
            self.storing.failed(subject, NO_STREAM)
            answer.set_exception(BrokerUnavailable(NO_STREAM, 0.5))
        else:
            answer.set_result(data)

    def _on_denied(self, text: str) -> None:
        """A denied publish is never answered: fail it at once, with the server's words (which come in lower case)."""
        for subject, answer in self._inbox.requests:
            if f'"{subject.lower()}"' in text and not answer.done():
                answer.set_exception(Denied(f"the broker denied it: {text}", 1.0))

    @staticmethod
    def _lost(publish: Publish) -> None:
        _, answer = publish
        if not answer.done():
            answer.set_exception(Unknown("the connection was lost before the broker answered"))

    def _late(self, publish: Publish) -> None:
        subject, answer = publish
        if not answer.done():
            if not self._connection.trouble:
                self.storing.failed(subject, SILENT)
            answer.set_exception(Unknown(f"the broker did not answer within {TIMEOUT_SECONDS:g} s"))


def _last_sequence(refusal: ApiError) -> int | None:
    """The sequence that the guard found: the server reports it in the text of the error alone."""
    names_it = refusal.error_code == ErrorCode.WRONG_LAST_SEQUENCE
    found = _WRONG_SEQUENCE.match(refusal.description) if names_it else None
    return int(found[1]) if found else None


def _batch_lines(batch: str, number: int, last: int) -> str:
    commit = f"{Nats.BATCH_COMMIT}: 1\r\n" if number == last else ""
    return f"{Nats.BATCH_ID}: {batch}\r\n{Nats.BATCH_SEQUENCE}: {number}\r\n{commit}"
