"""Reading the streams raw: every message as the broker kept it, by batched direct gets (ADR-31), past all services."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import passing_consumer, request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import decode_headers
from jetmesh.jetstream.transport import Transport
from jetmesh.topology.streams import Consumer

BATCH = 5_000
TIMEOUT_SECONDS = 15.0


class RawReader:
    """Reads whole streams over one inbox, one batch at a time."""

    def __init__(self, connection: Transport) -> None:
        self._connection = connection
        self._inbox = connection.new_inbox()
        self._messages: list[Stored] = []
        self._ended: asyncio.Future[bytes] | None = None

    async def start(self) -> None:
        """Listen for answers."""
        await self._connection.listen(self._inbox, self._on_frame)

    async def read(self, stream: str, subject: str = ">", first: int = 1) -> list[Stored]:
        """Every message on `subject` from the sequence `first` on, in the order of the stream; none where there is no
        such stream.

        Raises:
            Unavailable: the stream does not answer.
        """
        messages: list[Stored] = []
        if await request(self._connection, f"STREAM.INFO.{stream}") is None:
            return messages
        more = True
        while more:
            batch, more = await self._batch(stream, subject, first)
            messages += batch
            first = batch[-1].sequence + 1 if batch else first
        return messages

    async def _batch(self, stream: str, subject: str, first: int) -> tuple[list[Stored], bool]:
        """The next messages, and whether there are more behind them."""
        self._messages, self._ended = [], asyncio.get_running_loop().create_future()
        body = json.dumps({"seq": first, "batch": BATCH, "next_by_subj": subject}).encode()
        self._connection.send(self._connection.api(f"DIRECT.GET.{stream}"), body, reply=self._inbox)
        try:
            raw = await asyncio.wait_for(self._ended, TIMEOUT_SECONDS)
        except TimeoutError:
            raise Unavailable(f"the stream {stream} did not answer within {TIMEOUT_SECONDS:g} s") from None
        if raw[9:12] == b"404":
            return [], False
        if raw[9:12] != b"204":
            raise Unavailable(f"the stream {stream} could not be read: {raw.decode('utf-8', 'replace').strip()}")
        return self._messages, int(decode_headers(raw).get("Nats-Num-Pending", "0")) > 0

    def _on_frame(self, _subject: str, _reply: str, raw: bytes, data: bytes) -> None:
        if raw.startswith(b"NATS/1.0 "):
            if self._ended and not self._ended.done():
                self._ended.set_result(raw)
            return
        headers = decode_headers(raw)
        place = headers["Nats-Subject"], int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"]
        self._messages.append(Stored(*place, headers, data))


async def raw_reader(connection: Transport) -> RawReader:
    """A reader that listens."""
    reader = RawReader(connection)
    await reader.start()
    return reader


class Gauge:
    """Counts the messages on some subjects from now on: a consumer that nobody pulls, asked what waits for it."""

    def __init__(self, connection: Transport, stream: str, name: str) -> None:
        self._connection, self._place = connection, f"{stream}.{name}"

    async def count(self) -> int:
        """How many there are by now.

        Raises:
            Unavailable: the broker does not answer.
        """
        info = await request(self._connection, f"CONSUMER.INFO.{self._place}")
        return int(info["num_pending"]) if info else 0


@asynccontextmanager
async def gauge(connection: Transport, stream: str, subjects: Sequence[str]) -> AsyncIterator[Gauge]:
    """A gauge on some subjects of a stream, gone afterwards."""
    config = {"deliver_policy": "new", "filter_subjects": list(subjects)}
    async with passing_consumer(connection, stream, "gauge", **config) as name:
        yield Gauge(connection, stream, name)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where some durables stand: how many deliveries they still have before them or in hands, and how far each came."""

    waiting: int
    delivered: tuple[int, ...]


async def progress(connection: Transport, consumers: Iterable[Consumer]) -> Progress:
    """Where these durables stand now.

    Raises:
        Unavailable: the broker does not answer.
        ApiError: a durable is missing.
    """
    waiting, delivered = 0, []
    for consumer in consumers:
        info = await request(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}", strict=True)
        waiting += int(info["num_pending"]) + int(info["num_ack_pending"])
        delivered.append(int(info["delivered"]["stream_seq"]))
    return Progress(waiting, tuple(delivered))
