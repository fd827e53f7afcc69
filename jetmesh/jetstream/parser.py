"""The protocol parser: splits the broker's bytes into messages in one pass over each chunk."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

OnMessage = Callable[[int, str, str, bytes, bytes], bool]
"""Called with subscription id, subject, reply, header block and body; False: `HandOn` shall have the message."""
HandOn = Callable[[int, str, str, bytes, bytes], Awaitable[None]]
"""Called with the same if `OnMessage` returned False."""


class Other(Protocol):
    """Reads whatever is no message: PING, INFO, -ERR."""

    async def parse(self, data: bytes) -> None: ...

    def reset(self) -> None: ...


class MessageParser:
    """Replaces nats-py's parser: it parses messages itself and passes everything else to that parser."""

    def __init__(self, other: Other, deliver: OnMessage, hand_on: HandOn) -> None:
        self._other, self._deliver, self._hand_on = other, deliver, hand_on
        self._rest = b""
        self.connections = 0
        """How many there were: what comes late of an earlier one is not for this parser."""
        self.is_busy = False
        """Whether `parse` is at something: what arrives meanwhile comes after it."""

    def reset(self) -> None:
        """Start a new connection: drop unfinished input."""
        self._other.reset()
        self._rest = b""
        self.connections += 1

    def take(self, data: bytes) -> bytes:
        """Handle each complete message up to the first thing that is for `parse`, and keep a part of one; what is left
        for it."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            if not data.startswith((b"MSG ", b"HMSG "), at):
                return data[at:]
            arguments = data[at:line].split(b" ")
            body, end = line + 2, line + 2 + int(arguments[-1])
            if len(data) < end + 2:
                break
            if not self._deliver(*_message(arguments, data, body, end)):
                return data[at:]
            at = end + 2
        self._rest = data[at:]
        return b""

    async def parse(self, data: bytes = b"") -> None:
        """Handle everything that is complete, and keep the rest."""
        self.is_busy = True
        try:
            while data := self.take(data):
                data = await self._pass_on(data)
        finally:
            self.is_busy = False

    async def _pass_on(self, data: bytes) -> bytes:
        """What begins with a line of the protocol, or with a message that nobody took: the rest of it."""
        line = data.find(b"\r\n")
        if not data.startswith((b"MSG ", b"HMSG ")):
            await self._other.parse(data[: line + 2])
            return data[line + 2 :]
        arguments = data[:line].split(b" ")
        end = line + 2 + int(arguments[-1])
        await self._hand_on(*_message(arguments, data, line + 2, end))
        return data[end + 2 :]


class Straight:
    """Parses messages as the transport reads them; whatever is no message, and what comes behind it, takes the way
    through the reader, which wakes the read loop: two passes of the event loop instead of one."""

    def __init__(self, reader: asyncio.StreamReader, parser: MessageParser, come_round: Callable[[], None]) -> None:
        self._feed, self._parser, self._connection = reader.feed_data, parser, parser.connections
        self._come_round = come_round
        self._buffer = reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001  (nothing else says what waits)
        reader.feed_data = self.feed  # type: ignore[method-assign, assignment]

    def feed(self, data: bytes) -> None:
        """The transport has read this."""
        if self._buffer or self._parser.is_busy or self._connection != self._parser.connections:
            self._feed(data)
        else:
            rest = self._parser.take(data)
            self._come_round()  # behind the steps of the tasks that this woke: what they send goes out in the same pass
            if rest:
                self._feed(rest)


def _message(arguments: list[bytes], data: bytes, begin: int, end: int) -> tuple[int, str, str, bytes, bytes]:
    """`MSG subject sid [reply] size`, or `HMSG subject sid [reply] headers-size size`. The broker takes any bytes but
    spaces for a subject, whether they are UTF-8 or not."""
    subject = arguments[1].decode("utf-8", "replace")
    if arguments[0] == b"MSG":
        reply = arguments[3].decode("utf-8", "replace") if len(arguments) == 5 else ""
        return int(arguments[2]), subject, reply, b"", data[begin:end]
    reply = arguments[3].decode("utf-8", "replace") if len(arguments) == 6 else ""
    middle = begin + int(arguments[-2])
    return int(arguments[2]), subject, reply, data[begin:middle], data[middle:end]
