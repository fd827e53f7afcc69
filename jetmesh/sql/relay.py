"""The relay publishes what stands in the outbox, and takes each row out once the broker has stored its event.

It may end between the two, and another one publishes the row again. So each event is recorded under a guard: one that
is there already is not recorded a second time. What goes to its owner is guarded by the owner.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence, Set
from enum import Enum
from itertools import groupby
from typing import Any, NamedTuple, cast

from opentelemetry.trace import INVALID_SPAN_CONTEXT

from jetmesh.common.throttled_log import Conditions
from jetmesh.event import EventType
from jetmesh.failure import Permanent, Unavailable, growing
from jetmesh.jetstream.direct_get import Stored, last_sequence
from jetmesh.jetstream.headers import CloudEvents
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.subject import Subject, story_subject
from jetmesh.runtime.context import Context
from jetmesh.runtime.stories import has_ended
from jetmesh.sql.database import Database, RelayConnection
from jetmesh.sql.tables import OUTBOX
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.telemetry.spans import trace_lines

log = logging.getLogger(__name__)

LIMIT = 500
COLUMNS = "number, id, kind, type, key, stream, subject, headers, body, traceparent, tracestate"
WAITING = f"SELECT {COLUMNS} FROM {OUTBOX.name} WHERE refused IS NULL ORDER BY number LIMIT {LIMIT}"
IS_OURS = f"SELECT 1 FROM {OUTBOX.name} WHERE number = ?"
PUBLISHED = f"DELETE FROM {OUTBOX.name} WHERE number IN"
REFUSED = f"UPDATE {OUTBOX.name} SET refused = ? WHERE number = ?"
FIRST_SECONDS, LONGEST_SECONDS = 0.2, 5.0


class Kind(Enum):
    """How an event is recorded once."""

    MILESTONE = "milestone"
    STATE = "state"
    OCCURRENCE = "occurrence"
    OUTSIDE = "outside"
    """By its owner, to whom it goes."""


class OutboxRow(NamedTuple):
    """An event in the outbox."""

    number: int
    id: str
    kind: str
    type: str
    key: str
    stream: str
    subject: str
    headers: str
    body: bytes
    traceparent: str
    tracestate: str


class Relay:
    """Publishes the outbox of one database, in the order of each key."""

    def __init__(self, database: Database[Any], context: Context, sweep_seconds: float) -> None:
        self._database, self._context, self._sweep_seconds = database, context, sweep_seconds
        self._publishing = context.telemetry.publishing
        self._conditions = Conditions(log)

    async def run(self) -> None:
        """Publish until it is cancelled, whatever is down meanwhile."""
        attempt = 0
        while True:
            try:
                async with self._database.line() as line:
                    while True:
                        is_more = await self._pass_on(line)
                        attempt = 0
                        if not is_more:
                            await line.wait(self._sweep_seconds)
            except Exception as trouble:  # the database, in the words of its driver, or the broker
                attempt += 1
                self._conditions.log(type(trouble).__qualname__, logging.ERROR, "the outbox waits: %s", trouble)
            await asyncio.sleep(growing(FIRST_SECONDS, attempt, LONGEST_SECONDS))

    async def _pass_on(self, line: RelayConnection) -> bool:
        """Publish what is there; whether there may be more.

        Raises:
            Unavailable: the broker does not take some of it now.
        """
        rows = [OutboxRow._make(row) for row in await line.run(OUTBOX, WAITING)]
        done: list[OutboxRow] = []
        troubles = await asyncio.gather(*(self._in_order(line, of_key, done) for of_key in _by_key(rows)))
        if done:
            marks = ", ".join("?" * len(done))
            await line.run(OUTBOX, f"{PUBLISHED} ({marks})", [row.number for row in done])
        if trouble := next(filter(None, troubles), None):
            raise trouble
        self._conditions.over()
        return len(rows) == LIMIT

    async def _in_order(
        self, line: RelayConnection, rows: Sequence[OutboxRow], done: list[OutboxRow]
    ) -> Unavailable | None:
        """Publish the rows of one key, one after the other, until the broker does not take one."""
        for position, row in enumerate(rows):
            try:
                if not await self._publish(line, row, {later.id for later in rows[position:]}):
                    return None
            except Unavailable as trouble:
                return trouble
            except Permanent as never:
                log.error("%s %s of the outbox is never published: %s", row.subject, row.id, never)
                await line.run(OUTBOX, REFUSED, (str(never), row.number))
            else:
                done.append(row)
        return None

    async def _publish(self, line: RelayConnection, row: OutboxRow, ids: Set[str]) -> bool:
        """Publish one row, or find that it was published: it, or one of its key that comes after it; `ids` are theirs.
        False: another relay has taken over.

        Raises:
            Permanent: it can never be recorded.
            Unavailable: the broker does not take it now.
        """
        parent = parse_traceparent(row.traceparent, row.tracestate) or INVALID_SPAN_CONTEXT
        event_type = cast(EventType, row)  # spans and counters ask for its `type` alone
        span = self._publishing.span(parent, event_type, row.key, row.id, row.key)
        lines = row.headers + trace_lines(span.get_span_context())
        try:
            if row.kind == Kind.OUTSIDE.value:
                await self._context.publisher.record(Message(row.subject, row.body, lines))
                return True
            while not self._is_there(row, ids, stored := await self._read(row)):
                if row.kind == Kind.STATE.value and not await line.run(OUTBOX, IS_OURS, (row.number,)):
                    return False
                guard = Guard(_guarded(row), last_sequence(stored))
                try:
                    await self._context.group_commit.record(Message(row.subject, row.body, lines, guard))
                except Refused:
                    continue
                self._publishing.recorded(event_type)
                return True
        finally:
            span.end()
        return True

    async def _read(self, row: OutboxRow) -> list[Stored]:
        """What its guard stands on. The row of a state is looked for afterwards: as long as it is there, no other relay
        has gone on to the next one of its key, and an old level is not recorded over a newer one."""
        return await self._context.direct_get.last(row.stream, [_guarded(row)])

    @staticmethod
    def _is_there(row: OutboxRow, ids: Set[str], stored: Sequence[Stored]) -> bool:
        """Whether it is recorded.

        Raises:
            Permanent: it can't be any more.
        """
        if any(message.headers.get(CloudEvents.ID) in ids for message in stored):
            return True
        if row.kind == Kind.STATE.value and not has_ended(stored):
            return False
        same = [message for message in stored if message.subject == row.subject]
        if any(message.data != row.body for message in same):
            raise Permanent(f"{row.subject} was recorded before with other contents")
        if not same and has_ended(stored):
            raise Permanent(f"the story of {row.key} has ended, and is archived")
        return bool(same)


def _by_key(rows: Iterable[OutboxRow]) -> list[list[OutboxRow]]:
    """The rows of each key, in their order: keys of different entities apart."""
    ordered = sorted(rows, key=lambda row: (_lane(row), row.number))
    return [list(of_key) for _, of_key in groupby(ordered, _lane)]


def _lane(row: OutboxRow) -> tuple[str, str]:
    return Subject.parse(row.subject).entity, row.key


def _guarded(row: OutboxRow) -> str:
    """An occurrence is guarded by its own subject, all else by the story of its key."""
    is_alone = row.kind == Kind.OCCURRENCE.value
    return row.subject if is_alone else story_subject(Subject.parse(row.subject).entity, row.key)
