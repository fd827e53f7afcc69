"""Reading the messages that may be purged, byte for byte and in order, through an ephemeral consumer."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import passing_consumer
from jetmesh.jetstream.delivery import ack_facts
from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.subject import Subject
from jetmesh.jetstream.transport import Transport, answer_inbox
from jetmesh.operate.archive.row import Row

TIMEOUT_SECONDS = 30.0


class Scan:
    """Pages of a stream. (A direct get adds headers to a message; a delivery by a consumer does not.)"""

    def __init__(self, connection: Transport, stream: str, consumer: str) -> None:
        self._connection, self._stream = connection, stream
        self._next = connection.api(f"CONSUMER.MSG.NEXT.{stream}.{consumer}")
        self._delivered = 0
        self._page: list[Row] = []
        self._size = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def page(self, size: int) -> list[Row]:
        """The next messages, at most `size`; none at the end of the stream.

        Raises:
            Unavailable: the stream does not answer, or a delivery was lost.
        """
        self._page, self._size, self._ended = [], size, asyncio.get_running_loop().create_future()
        demand = json.dumps({"batch": size, "no_wait": True}).encode()
        async with answer_inbox(self._connection, self._on_frame) as inbox:
            self._connection.send(self._next, demand, reply=inbox)
            try:
                await asyncio.wait_for(self._ended, TIMEOUT_SECONDS)
            except TimeoutError:
                raise Unavailable(f"the stream {self._stream} did not answer within {TIMEOUT_SECONDS:g} s") from None
        return self._page

    def _on_frame(self, subject: str, reply: str, raw: bytes, data: bytes) -> None:
        if self._ended.done():
            return
        if not reply:
            self._on_status(raw)
            return
        sequence, delivered, time_ns = map(int, ack_facts(reply)[3:6])
        self._delivered += 1
        if delivered != self._delivered:
            self._ended.set_exception(Unavailable(f"a delivery of the stream {self._stream} was lost"))
            return
        self._page.append(Row(Subject.parse(subject).key, self._stream, sequence, time_ns, subject, raw, data))
        if len(self._page) == self._size:
            self._ended.set_result(None)

    def _on_status(self, raw: bytes) -> None:
        status = Status.of(raw)
        if status is None or status.kind is StatusKind.IDLE:
            return
        if status.kind in (StatusKind.NOTHING, StatusKind.EXPIRED):
            self._ended.set_result(None)
        else:
            self._ended.set_exception(Unavailable(f"the stream {self._stream} could not be read: {status}"))


@asynccontextmanager
async def scan(
    connection: Transport, stream: str, subjects: Sequence[str], since: datetime | None = None
) -> AsyncIterator[Scan]:
    """Read these subjects of a stream, from its beginning or from a time on."""
    start = {"deliver_policy": "by_start_time", "opt_start_time": since.isoformat()} if since else {}
    config = {"deliver_policy": "all", "filter_subjects": list(subjects), "num_replicas": 1, **start}
    async with passing_consumer(connection, stream, "archive", **config) as name:
        yield Scan(connection, stream, name)
