"""Reads, groups, replays and discards dead letters, and records who did so in an append-only log.

A replay goes to the one reaction that gave up, as a delayed redelivery. The event keeps its id and its trace; its
attempts start again. If it was handled meanwhile, the redelivery is settled and does nothing.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from jetmesh.common import lenient
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import delete_message
from jetmesh.jetstream.delivery import derived_id
from jetmesh.jetstream.direct_get import NobodyAnswers, Stored, reading
from jetmesh.jetstream.headers import TRACEPARENT, Headers, Jetmesh, as_published, foreign
from jetmesh.jetstream.leader_get import last_message
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.stream_reader import messages
from jetmesh.jetstream.subject import Subject
from jetmesh.jetstream.transport import Transport
from jetmesh.operate import replay
from jetmesh.operate.operator_log import (
    BROUGHT_BACK,
    DISCARDED,
    EDITED,
    REFUSED,
    REPLAYED,
    Entry,
    OperatorLog,
    entry_of,
)
from jetmesh.operate.replay import Unfit
from jetmesh.runtime.origin import origin_of
from jetmesh.telemetry.otlp import parse_traceparent
from jetmesh.topology import names
from jetmesh.topology.names import DEAD_LETTERS, DEAD_LOG_SUBJECTS

PAGE = 256
PAGE_BYTES_MAX = 8 << 20
NO_STREAM = (
    f"there is no stream {DEAD_LETTERS} for this user: run `jetmesh topology apply`, or, where users have keys, "
    "name an operator's key with JETMESH_NATS_NKEY_SEED"
)
KEPT_MAX = 200_000
"""So many characters the log keeps of what an operator wrote."""
SETTLING_SECONDS = (0.01, 0.05, 0.2, 0.5, 1.0, 0.0)
"""After each of these a replay asks whether the delivery that became the letter is settled."""
NOT_SENT = "its replay, or the delivery that became it, is under way; the edit was not sent"
FINAL = {
    REPLAYED: "its reaction has got the message again, which can't be taken back",
    EDITED: "its reaction has got the mended event, which can't be taken back",
    DISCARDED: "an older version discarded it, and kept nothing of it",
    BROUGHT_BACK: "discard the letter again",
}
"""Why an action can't be undone."""
VARIES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


class AlreadyHandled(Exception):
    """Another operator was quicker; the text says so."""


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry of the log, and where it stands."""

    sequence: int
    subject: str
    entry: Entry

    @property
    def letter_subject(self) -> str:
        """The subject of the letter that it is about."""
        return names.dead_letter(self.subject.partition(".")[2])

    @property
    def why_final(self) -> str:
        """Why it can't be undone; empty where that can be tried."""
        if self.entry.action == DISCARDED and self.entry.headers:
            return ""
        return FINAL.get(self.entry.action, "it did nothing with a letter")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter: the whole delivery that was given up, and the reason."""

    sequence: int
    subject: str
    headers: Headers
    data: bytes

    @property
    def service(self) -> str:
        """The service that gave up, by the subject: no other service may publish there."""
        return origin_of(self.subject).service

    @property
    def reaction(self) -> str:
        """The `<service>.<reaction>` that gave up."""
        return origin_of(self.subject).whose

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
        """The subject of the original message."""
        return self.headers.get(Jetmesh.SUBJECT, "")

    @property
    def position(self) -> tuple[str, int]:
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
        """When the reaction gave up."""
        return lenient.moment(self.headers.get(Jetmesh.LAST_TIME, ""))

    @property
    def trace_id(self) -> str:
        """Its trace id, 32 hexadecimal digits; empty if there was none."""
        trace = parse_traceparent(self.traceparent)
        return f"{trace.trace_id:032x}" if trace else ""

    @property
    def original(self) -> Headers:
        """The original headers."""
        return foreign(self.headers)

    @property
    def kind(self) -> str:
        """The reason without ids and numbers, so that equal failures form one group."""
        key = Subject.parse(self.source).key
        reason = self.reason.replace(key, "…") if key else self.reason
        return f"{self.error_type}: {VARIES.sub('#', reason)}"

    @property
    def frame(self) -> str:
        """Where in the service's own code the error was raised, without the line: equal failures of two versions form
        one group."""
        return self.headers.get(Jetmesh.FRAME, "").rpartition(":")[0]

    @property
    def traceback(self) -> str:
        """The end of the traceback; empty in letters of older versions."""
        return unquote(self.headers.get(Jetmesh.TRACEBACK, ""))

    @property
    def traceparent(self) -> str:
        """The trace context of the last attempt; a message from outside may carry another one."""
        given = {name.lower(): value for name, value in self.headers.items()}
        return self.headers.get(Jetmesh.TRACEPARENT) or given.get(TRACEPARENT, "")


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects dead letters by reaction (`payments.authorize`, or a service's name) and by a text in the reason."""

    reaction: str = ""
    reason: str = ""

    def takes(self, letter: DeadLetter) -> bool:
        """Whether it selects the letter."""
        return self._fits(letter.reaction, f"{letter.error_type}: {letter.reason}\n{letter.kind}")

    def takes_entry(self, entry: Entry) -> bool:
        """Whether it selects the letter that an entry of the log is about."""
        return self._fits(entry.reaction, entry.reason)

    def _fits(self, reaction: str, text: str) -> bool:
        mine = self.reaction in ("", reaction, reaction.partition(".")[0])
        return mine and self.reason.lower() in text.lower()

    @property
    def subject(self) -> str:
        """The subjects of the letters that it can select."""
        return names.dead_letters_of(self.reaction) if self.reaction else names.DEAD_SUBJECTS


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """The dead letters of one reaction with one reason, raised in one place."""

    reaction: str
    kind: str
    frame: str
    count: int
    first: datetime
    last: datetime
    example: DeadLetter


def grouped(letters: Iterable[DeadLetter]) -> list[LetterGroup]:
    """Group letters by reaction, reason and place, the largest group first."""
    together: dict[tuple[str, str, str], list[DeadLetter]] = {}
    for letter in letters:
        together.setdefault((letter.reaction, letter.kind, letter.frame), []).append(letter)
    groups = [
        LetterGroup(
            reaction,
            kind,
            frame,
            len(members),
            min(letter.last_time for letter in members),
            max(letter.last_time for letter in members),
            members[-1],
        )
        for (reaction, kind, frame), members in together.items()
    ]
    return sorted(groups, key=lambda group: -group.count)


class DeadLetters:
    """The dead letters of a mesh, without those of the services `hidden`. Each replay and discard is logged with the
    name of the operator."""

    def __init__(
        self, connection: Transport, publisher: Publisher, by: str = "", hidden: frozenset[str] = frozenset()
    ) -> None:
        self._connection, self._publisher, self._hidden = connection, publisher, hidden
        self.operators = OperatorLog(publisher, by)

    async def all(self, which: Filter = EVERYTHING) -> AsyncIterator[DeadLetter]:
        """The selected letters, oldest first.

        Raises:
            Unavailable: the stream does not answer.
        """
        async for message in self._messages(which.subject):
            letter = letter_of(message)
            if letter.service not in self._hidden and which.takes(letter):
                yield letter

    async def one(self, sequence: int) -> DeadLetter | None:
        """The letter of this sequence; None if there is none."""
        return next(iter(await self.some([sequence])), None)

    async def some(self, sequences: Sequence[int]) -> list[DeadLetter]:
        """The letters of these sequences that are still there."""
        return [letter_of(message) for message in await self._at(names.DEAD_SUBJECTS, sequences)]

    async def replay(self, letter: DeadLetter, batch_id: str = "") -> None:
        """Deliver the original message to its reaction again, and remove the letter once that is stored. A reaction
        that gives up again makes a new letter.

        Raises:
            Unfit: the letter does not match the message in its stream; it stays.
            Unavailable: the broker does not store it now, or the delivery that became the letter is still there; the
                letter stays.
        """
        found = await replay.original(self._connection, letter.subject, letter.headers, letter.data)
        origin = await replay.reader(self._connection, letter.subject, found)
        await self._deliver(letter, replay.again(letter.sequence, origin, found, letter.traceparent))
        await self._write(letter, REPLAYED, batch_id=batch_id)
        await self._delete(letter)

    async def last_entry(self, letter: DeadLetter) -> int:
        """The sequence of the last entry about this letter's message; 0: there is none."""
        found = await last_message(self._connection, DEAD_LETTERS, names.dead_log(letter.subject))
        return found.sequence if found else 0

    async def edit(self, letter: DeadLetter, data: bytes, seen: int, note: str = "", diff: str = "") -> str:
        """Deliver a mended body to the reaction, as a new event whose cause is the letter's, and remove the letter; the
        new event's id. `seen` is the `last_entry` that the operator knew: where another one was quicker, nothing is
        sent. The id is the same for every edit of a letter, so that it is handled once. The log keeps the body, and
        what differs.

        Raises:
            AlreadyHandled: another operator was quicker, or a replay is still under way, which the log says then.
            Unfit: the letter does not match the message in its stream, or the new body has no place; it stays.
            Unavailable: the broker does not store it now; the letter stays.
        """
        found = await replay.source(self._connection, letter.subject)
        origin = await replay.reader(self._connection, letter.subject, found)
        event_id = derived_id("edited", letter.subject, str(letter.sequence))
        mended = replay.mended(found, data, event_id)
        message = replay.again(letter.sequence, origin, mended, letter.traceparent)
        kept = {"body": data.decode("utf-8", "replace")[:KEPT_MAX], "diff": diff[:KEPT_MAX]}
        guard = Guard(names.dead_log(letter.subject), seen)
        try:
            await self._write(letter, EDITED, note=note, guard=guard, event_id=event_id, **kept)
        except Refused:
            raise AlreadyHandled(f"letter {letter.sequence}: another operator was quicker; nothing was sent") from None
        try:
            await self._publisher.record(message, limited=False)
        except Refused:
            await self.refuse(letter, NOT_SENT)
            raise AlreadyHandled(f"letter {letter.sequence}: {NOT_SENT}") from None
        await self._delete(letter)
        return event_id

    async def discard(self, letter: DeadLetter, note: str = "", batch_id: str = "") -> int:
        """Remove a letter; the log keeps the reason, and what is needed to bring it back. The sequence of the entry."""
        headers = as_published(letter.headers)
        # Log first, then delete: a crash in between leaves a logged letter, never a deletion without an entry.
        entry = await self._write(letter, DISCARDED, note=note, batch_id=batch_id, headers=headers)
        await self._delete(letter)
        return entry

    async def bring_back(self, sequence: int, batch_id: str = "") -> int:
        """Store a letter again, as it was when the entry at this sequence of the log discarded it; its new sequence.
        Its body is that of the message that it is about.

        Raises:
            Unfit: it can't be brought back; the text says why.
            AlreadyHandled: another operator was quicker.
            Unavailable: the broker does not store it now.
        """
        logged = await self.entry_at(sequence)
        why = logged.why_final if logged else "there is no such entry"
        if logged is None or why:
            raise Unfit(f"entry {sequence} can't be undone: {why}")
        subject, entry = logged.letter_subject, logged.entry
        last = await last_message(self._connection, DEAD_LETTERS, names.dead_log(subject))
        if last is None or last.sequence != sequence:
            raise AlreadyHandled(f"letter {entry.letter}: something was done with it since it was discarded")
        data = await self._body_of(subject, entry.headers)
        try:
            message = Message(subject, data, dict(entry.headers), Guard(subject, 0))
            found = await self._publisher.record(message, limited=False)
        except Refused:
            raise AlreadyHandled(f"letter {entry.letter}: there is a letter about its message already") from None
        undone = Entry(
            BROUGHT_BACK, entry.reaction, entry.letter, entry.source, entry.reason, batch_id=batch_id, undoes=sequence
        )
        await self.operators.write(subject, undone, Guard(names.dead_log(subject), sequence))
        return found

    async def discards(self, which: Filter = EVERYTHING) -> dict[int, LoggedEntry]:
        """The entries of the discards that were not undone yet, by the sequences that their letters had, oldest first.

        Raises:
            Unavailable: the stream does not answer.
        """
        found: dict[int, LoggedEntry] = {}
        async for logged in self.entries():
            if logged.entry.action == DISCARDED and which.takes_entry(logged.entry):
                found[logged.entry.letter] = logged
            elif logged.entry.undoes:
                found.pop(logged.entry.letter, None)
        return found

    async def refuse(self, letter: DeadLetter, why: str, batch_id: str = "") -> None:
        """Log that nothing was done with a letter."""
        await self._write(letter, REFUSED, note=why, batch_id=batch_id)

    async def entry_at(self, sequence: int) -> LoggedEntry | None:
        """The entry of the log at this sequence; None if there is none."""
        return next(iter(await self.entries_at([sequence])), None)

    async def entries_at(self, sequences: Sequence[int]) -> list[LoggedEntry]:
        """The entries of the log at these sequences."""
        found = map(_logged, await self._at(DEAD_LOG_SUBJECTS, sequences))
        return [logged for logged in found if logged]

    async def entries(self) -> AsyncIterator[LoggedEntry]:
        """The log, oldest first."""
        async for message in self._messages(DEAD_LOG_SUBJECTS):
            if (logged := _logged(message)) and origin_of(message.subject).service not in self._hidden:
                yield logged

    async def log(self) -> list[Entry]:
        """The entries alone."""
        return [logged.entry async for logged in self.entries()]

    async def _body_of(self, subject: str, headers: Mapping[str, str]) -> bytes:
        """The body of a letter that was discarded.

        Raises:
            Unfit: its message is not there any more.
        """
        found = await replay.source(self._connection, subject)
        omitted = lenient.whole(headers.get(Jetmesh.OMITTED_BYTES, ""))
        return found.data[: max(0, len(found.data) - omitted)]

    async def _deliver(self, letter: DeadLetter, message: Message) -> None:
        """Store the delivery; one of this letter that is under way already is as good. One that became this letter is
        about to be settled, and would take a letter that is removed now with it: wait for that.

        Raises:
            Unavailable: it is not settled in time.
        """
        for pause in SETTLING_SECONDS:
            try:
                await self._publisher.record(message, limited=False)
            except Refused:
                if await replay.is_under_way(self._connection, letter.service, message):
                    return
            else:
                return
            await asyncio.sleep(pause)
        raise Unavailable(f"the delivery that became letter {letter.sequence} is not settled yet: replay it again")

    async def _write(self, letter: DeadLetter, action: str, guard: Guard | None = None, **more: Any) -> int:
        """Write an entry about a letter."""
        reason = f"{letter.error_type}: {letter.reason}"
        entry = Entry(action, letter.reaction, letter.sequence, letter.source, reason, **more)
        return await self.operators.write(letter.subject, entry, guard)

    async def _delete(self, letter: DeadLetter) -> None:
        await delete_message(self._connection, DEAD_LETTERS, letter.sequence)  # another operator may have deleted it

    async def _at(self, subject: str, sequences: Sequence[int]) -> list[Stored]:
        """The messages of these sequences, as far as they are there and on the subject."""
        with _explained():
            async with reading(self._connection) as reader:
                pages = await asyncio.gather(*(reader.page(DEAD_LETTERS, subject, each, 1) for each in sequences))
        found = zip(pages, sequences, strict=True)
        return [message for page, sequence in found for message in page.messages if message.sequence == sequence]

    async def _messages(self, subject: str) -> AsyncIterator[Stored]:
        with _explained():
            async for message in messages(self._connection, DEAD_LETTERS, subject, 1, PAGE, PAGE_BYTES_MAX):
                yield message


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say what to do where there is no stream."""
    try:
        yield
    except NobodyAnswers as failed:
        raise Unavailable(NO_STREAM) from failed


def letter_of(message: Stored) -> DeadLetter:
    """A message of the stream as a letter."""
    return DeadLetter(message.sequence, message.subject, message.headers, message.data)


def _logged(message: Stored) -> LoggedEntry | None:
    entry = entry_of(message.data)
    return LoggedEntry(message.sequence, message.subject, entry) if entry else None
