"""Whole streams: every message as the broker kept it, by batched direct gets (ADR-31)."""

import asyncio
import json

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import Nats, decode_headers
from jetmesh.jetstream.transport import Transport

BATCH = 5_000
TIMEOUT_SECONDS = 15.0


class StreamReader:
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
        return self._messages, int(decode_headers(raw).get(Nats.NUM_PENDING, "0")) > 0

    def _on_frame(self, _subject: str, _reply: str, raw: bytes, data: bytes) -> None:
        if raw.startswith(b"NATS/1.0 "):
            if self._ended and not self._ended.done():
                self._ended.set_result(raw)
            return
        headers = decode_headers(raw)
        place = headers[Nats.SUBJECT], int(headers[Nats.SEQUENCE]), headers[Nats.TIME_STAMP]
        self._messages.append(Stored(*place, headers, data))


async def stream_reader(connection: Transport) -> StreamReader:
    """A reader that listens."""
    reader = StreamReader(connection)
    await reader.start()
    return reader
