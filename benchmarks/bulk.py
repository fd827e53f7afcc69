"""Messages in bulk, past every client: frames of the protocol that are made once and written as bytes, so that the
broker and not who publishes says how long it takes."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

CHUNK = 1_000
"""The last message of so many asks for an acknowledgement."""
WINDOW = 4
"""Chunks on their way at most: a stream drops what comes while 10,000 messages wait for it."""
ANSWER_SECONDS = 60.0
LINE = b"\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """A message to be published: its subject, its header block and its body."""

    subject: str
    headers: bytes
    body: bytes

    def encoded(self, reply: str = "") -> bytes:
        """As the protocol writes it; `reply`: where the acknowledgement goes, if it asks for one."""
        size = len(self.headers)
        arguments = f"HPUB {self.subject} {f'{reply} ' if reply else ''}{size} {size + len(self.body)}"
        return b"".join((arguments.encode(), LINE, self.headers, self.body, LINE))


def chunks(name: str, frames: Iterable[Frame]) -> Iterator[bytes]:
    """The frames as they go to the broker by `publish` of the same name."""
    waiting = iter(frames)
    while some := list(islice(waiting, CHUNK)):
        yield b"".join((*(frame.encoded() for frame in some[:-1]), some[-1].encoded(_inbox(name))))


async def publish(url: str, name: str, what: Iterable[bytes]) -> None:
    """Write all chunks of this name on a connection of its own, and wait until the last message is stored.

    Raises:
        RuntimeError: the broker refused something; the text is its answer.
        TimeoutError: it does not answer.
    """
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        await reader.readuntil(LINE)
        writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        writer.write(f"SUB {_inbox(name)} 1\r\n".encode())
        under_way = 0
        for chunk in what:
            writer.write(chunk)
            await writer.drain()
            under_way += 1
            if under_way == WINDOW:
                await _answer(reader, writer)
                under_way -= 1
        for _ in range(under_way):
            await _answer(reader, writer)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The next acknowledgement."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while not (line := await reader.readuntil(LINE)).startswith((b"MSG ", b"HMSG ", b"-ERR")):
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        size = 0 if line.startswith(b"-ERR") else int(line.split()[-1]) + len(LINE)
        answer = await reader.readexactly(size)
    if not line.startswith(b"MSG ") or b'"error"' in answer:
        raise RuntimeError(f"the broker refused messages in bulk: {(line + answer).decode(errors='replace')}")


def renamed(templates: Sequence[bytes], old: bytes, names: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks once for each name, which is as long as the one that it stands in the place of."""
    for name in names:
        assert len(name) == len(old)
        for template in templates:
            yield template.replace(old, name)


def _inbox(name: str) -> str:
    return f"_INBOX.bulk.{name}"
