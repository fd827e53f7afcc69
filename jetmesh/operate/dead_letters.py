"""Dead letters read, grouped, replayed and discarded; who did what is kept beside them, append-only.

A replay goes to the failing reaction alone, through the lane on which what was set aside comes back. The event keeps
its identity and its trace; its attempts begin anew. What was handled meanwhile is settled and does nothing.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from jetmesh.cloudevents import now
from jetmesh.common import lenient
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import delete_message
from jetmesh.jetstream.headers import TRACEPARENT, Headers, Jetmesh, Nats, decode_headers, foreign
from jetmesh.jetstream.message import Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.transport import Transport
from jetmesh.operate import replay
from jetmesh.runtime.origin import origin_of
from jetmesh.telemetry.otlp import parse_traceparent
from jetmesh.topology import names
from jetmesh.topology.names import DEAD_LETTERS, DEAD_LOG_SUBJECTS

PAGE = 256
PAGE_BYTES_MAX = 8 << 20
TIMEOUT_SECONDS = 5.0
NO_STREAM = (
    f"there is no stream {DEAD_LETTERS} for this user: run `jetmesh topology apply`, or, where users have keys, "
    "name an operator's key with JETMESH_NATS_NKEY_SEED"
)
VARIES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: what could not be handled, whole, and what is known about why."""

    sequence: int
    subject: str
    headers: Headers
    data: bytes

    @property
    def service(self) -> str:
        """The service that could not handle it: its subject says so, which no other service may write to."""
        return origin_of(self.subject).service

    @property
    def reaction(self) -> str:
        """`<service>.<reaction>` that could not handle it."""
        return f"{self.service}.{origin_of(self.subject).reaction}"

    @property
    def error_type(self) -> str:
        """The class of the error."""
        return self.headers.get(Jetmesh.ERROR_TYPE, "")

    @property
    def reason(self) -> str:
        """The text of the error."""
        return self.headers.get(Jetmesh.REASON, "")

    @property
    def source(self) -> str:
        """The subject on which it came."""
        return self.headers.get(Jetmesh.SUBJECT, "")

    @property
    def place(self) -> tuple[str, int]:
        """The stream and the sequence of the original message."""
        origin = origin_of(self.subject)
        return origin.stream, origin.sequence

    @property
    def attempts(self) -> int:
        """How often it was delivered."""
        return lenient.whole(self.headers.get(Jetmesh.ATTEMPTS, ""))

    @property
    def first_time(self) -> datetime:
        """When the original message was stored."""
        return datetime.fromtimestamp(lenient.seconds(self.headers.get(Jetmesh.FIRST_TIME, "")), UTC)

    @property
    def last_time(self) -> datetime:
        """When it was given up."""
        return lenient.moment(self.headers.get(Jetmesh.LAST_TIME, ""))

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to, 32 hexadecimal digits; empty where there was none."""
        trace = parse_traceparent(self.traceparent)
        return f"{trace.trace_id:032x}" if trace else ""

    @property
    def original(self) -> Headers:
        """The headers as they came."""
        return foreign(self.headers)

    @property
    def kind(self) -> str:
        """The reason without what differs from event to event, so that equal failures fall into one group."""
        _, key = _split(self.source)
        reason = self.reason.replace(key, "…") if key else self.reason
        return f"{self.error_type}: {VARIES.sub('#', reason)}"

    @property
    def traceparent(self) -> str:
        """That of the last attempt: what came from outside may have asked for another one."""
        given = {name.lower(): value for name, value in self.headers.items()}
        return self.headers.get(Jetmesh.TRACEPARENT) or given.get(TRACEPARENT, "")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters: of a reaction (`payments.authorize`, or a service's name), with a text in the reason; all where
    neither is said."""

    reaction: str = ""
    reason: str = ""

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is among them."""
        mine = self.reaction in ("", letter.reaction, letter.service)
        text = f"{letter.error_type}: {letter.reason}\n{letter.kind}"
        return mine and self.reason.lower() in text.lower()

    @property
    def subject(self) -> str:
        """The subjects of letters that can be among them."""
        return names.dead_letters_of(self.reaction) if self.reaction else names.DEAD_SUBJECTS


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one reaction that failed for one reason."""

    reaction: str
    kind: str
    count: int
    first: datetime
    last: datetime
    example: Letter


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record: who did what with which letter."""

    action: str
    by: str
    at: str
    letter: int
    reaction: str
    source: str
    reason: str


_ENTRY = TypeAdapter(Entry)


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """The letters by reaction and reason, the largest group first."""
    together: dict[tuple[str, str], list[Letter]] = {}
    for letter in letters:
        together.setdefault((letter.reaction, letter.kind), []).append(letter)
    groups = [
        Group(
            reaction,
            kind,
            len(members),
            min(letter.last_time for letter in members),
            max(letter.last_time for letter in members),
            members[-1],
        )
        for (reaction, kind), members in together.items()
    ]
    return sorted(groups, key=lambda group: -group.count)


class Letters:
    """The dead letters of a mesh. Everything that changes them is recorded under the name of whoever did it."""

    def __init__(self, connection: Transport, publisher: Publisher, by: str = "") -> None:
        self._connection, self._publisher, self._by = connection, publisher, by

    async def all(self, which: Filter = EVERYTHING) -> AsyncIterator[Letter]:
        """The letters, oldest first.

        Raises:
            Unavailable: the stream does not answer.
        """
        async for sequence, headers, data in self._messages(which.subject):
            letter = Letter(sequence, headers.pop(Nats.SUBJECT, ""), headers, data)
            if which.takes(letter):
                yield letter

    async def one(self, sequence: int) -> Letter | None:
        """The letter of this sequence, if it is there."""
        async for found, headers, data in self._messages(names.DEAD_SUBJECTS, sequence, 1):
            return Letter(found, headers.pop(Nats.SUBJECT, ""), headers, data) if found == sequence else None
        return None

    async def replay(self, letter: Letter) -> None:
        """Bring the message of a letter back to its reaction. The letter leaves the list once that is stored; if it
        fails again a new one appears.

        Raises:
            Unfit: the letter is not about what stands in the stream of origin; it is still there.
            Unavailable: the broker does not take it now; the letter is still there.
        """
        found = await replay.original(self._connection, letter.subject, letter.headers, letter.data)
        message = replay.again(letter.sequence, letter.subject, found, letter.traceparent)
        with contextlib.suppress(Refused):  # an earlier replay of it is still on its way
            await self._publisher.record(message, limited=False)
        await self._remove(letter, "replayed")

    async def discard(self, letter: Letter) -> None:
        """Remove a letter for good."""
        await self._remove(letter, "discarded")

    async def record(self) -> list[Entry]:
        """Who replayed and discarded what, oldest first."""
        return [entry async for _, _, data in self._messages(DEAD_LOG_SUBJECTS) if (entry := _entry(data))]

    async def _remove(self, letter: Letter, action: str) -> None:
        """The record comes first: a crash in between shows a letter that was dealt with, never the reverse."""
        entry = {
            "action": action, "by": self._by, "at": now(), "letter": letter.sequence, "reaction": letter.reaction,
            "source": letter.source, "reason": f"{letter.error_type}: {letter.reason}",
        }  # fmt: skip
        subject = names.dead_log(letter.subject)
        await self._publisher.record(Message(subject, json.dumps(entry).encode(), {}), limited=False)
        await delete_message(self._connection, DEAD_LETTERS, letter.sequence)  # somebody else may have been faster

    async def _messages(
        self, subject: str, start: int = 1, count: int = PAGE
    ) -> AsyncIterator[tuple[int, Headers, bytes]]:
        """The messages of a subject from a sequence on, page by page (batched direct get, ADR-31)."""
        more = True
        while more:
            page, pending = await self._page(subject, start, count)
            for sequence, headers, data in page:
                yield sequence, headers, data
                start = sequence + 1
            more = bool(page) and pending > 0 and count == PAGE

    async def _page(self, subject: str, start: int, count: int) -> tuple[list[tuple[int, Headers, bytes]], int]:
        found: list[tuple[int, Headers, bytes]] = []
        end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_frame(_subject: str, _reply: str, raw: bytes, data: bytes) -> None:
            headers = decode_headers(raw)
            if not raw.startswith(b"NATS/1.0 "):
                found.append((lenient.whole(headers.get(Nats.SEQUENCE, "")), headers, data))
            elif not end.done():
                _conclude(end, raw, headers)

        wanted = {"batch": count, "max_bytes": PAGE_BYTES_MAX, "seq": start, "next_by_subj": subject}
        async with self._connection.answers(on_frame) as inbox:
            subject = self._connection.api(f"DIRECT.GET.{DEAD_LETTERS}")
            self._connection.send(subject, json.dumps(wanted).encode(), reply=inbox)
            try:
                return found, await asyncio.wait_for(end, TIMEOUT_SECONDS)
            except TimeoutError:
                raise Unavailable(f"{DEAD_LETTERS} did not answer within {TIMEOUT_SECONDS:g} s") from None


def _entry(data: bytes) -> Entry | None:
    """A line of the record; None where somebody has left something else there."""
    try:
        return _ENTRY.validate_json(data)
    except ValidationError:
        return None


def _conclude(end: "asyncio.Future[int]", raw: bytes, headers: Headers) -> None:
    """A page ends with 204 and what is left, or with 404 where there is nothing."""
    status, words = raw[9:12], raw[9:].split(b"\r\n", 1)[0].decode("utf-8", "replace")
    if status in (b"204", b"404"):
        end.set_result(int(headers.get(Nats.NUM_PENDING) or 0))
    elif status == b"503":
        end.set_exception(Unavailable(NO_STREAM))
    else:
        end.set_exception(Unavailable(f"{DEAD_LETTERS} could not be read: {words}"))


def _split(subject: str) -> tuple[str, str]:
    first, _, rest = subject.partition(".")
    event, _, key = rest.partition(".")
    return f"{first}.{event}", key
