"""Messages are parsed as the transport reads them; what is no message waits for its turn, and nothing overtakes it."""

import asyncio
from collections.abc import Iterator

import pytest

from jetmesh.jetstream.parser import MessageParser, Straight

STREAM = (
    b"MSG a.b 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"HMSG c.d 1 re.ply 12 14\r\nNATS/1.0\r\n\r\nok\r\n"
    b"MSG no.body 9 2\r\n\r\n\r\n"
    b"INFO {}\r\nPING\r\n"
    b"MSG a.b 1 back 0\r\n\r\n"
)
EXPECTED = [
    ("message", "a.b", "", b"", b"hello"),
    ("other", b"PING\r\n"),
    ("message", "c.d", "re.ply", b"NATS/1.0\r\n\r\n", b"ok"),
    ("handed on", "no.body", "", b"", b"\r\n"),
    ("other", b"INFO {}\r\n"),
    ("other", b"PING\r\n"),
    ("message", "a.b", "back", b"", b""),
]


class Heard:
    """What came of the bytes, in its order."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []
        self.parser = MessageParser(self, self._deliver, self._hand_on)
        self.reader = asyncio.StreamReader()
        Straight(self.reader, self.parser, self.come_round)

    async def parse(self, data: bytes) -> None:
        """What is no message; it takes a while."""
        await asyncio.sleep(0)
        self.all.append(("other", data))

    def reset(self) -> None:
        """A new connection."""

    def come_round(self) -> None:
        """Nothing is written here."""

    async def read(self) -> None:
        """The read loop, until the end of the connection."""
        while data := await self.reader.read(16):
            await self.parser.parse(data)

    def _deliver(self, sid: int, subject: str, reply: str, headers: bytes, data: bytes) -> bool:
        if sid == 1:
            self.all.append(("message", subject, reply, headers, data))
        return sid == 1

    async def _hand_on(self, _sid: int, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        await asyncio.sleep(0)
        self.all.append(("handed on", subject, reply, headers, data))


def chunks(size: int) -> Iterator[bytes]:
    """The stream in pieces."""
    return (STREAM[at : at + size] for at in range(0, len(STREAM), size))


@pytest.mark.parametrize("pause", [True, False], ids=["slow", "at-once"])
@pytest.mark.parametrize("size", [*range(1, 40), len(STREAM)])
async def test_everything_comes_in_its_order_however_it_is_cut(size: int, pause: bool) -> None:
    heard = Heard()
    reading = asyncio.create_task(heard.read())
    for chunk in chunks(size):
        heard.reader.feed_data(chunk)
        if pause:
            await asyncio.sleep(0)
    heard.reader.feed_eof()
    await reading
    assert heard.all == EXPECTED


async def test_a_message_needs_no_read_loop() -> None:
    heard = Heard()
    heard.reader.feed_data(b"MSG a.b 1 5\r\nhel")
    heard.reader.feed_data(b"lo\r\nMSG a.b 1 0\r\n\r\n")
    assert heard.all == [EXPECTED[0], ("message", "a.b", "", b"", b"")]


async def test_what_comes_late_of_an_earlier_connection_is_not_parsed() -> None:
    heard = Heard()
    heard.reader.feed_data(b"MSG a.b 1 5\r\nhel")
    heard.parser.reset()
    heard.reader.feed_data(b"lo\r\nMSG a.b 1 0\r\n\r\n")
    following = asyncio.StreamReader()
    Straight(following, heard.parser, heard.come_round)
    following.feed_data(b"MSG a.b 1 2\r\nok\r\n")
    assert heard.all == [("message", "a.b", "", b"", b"ok")]
