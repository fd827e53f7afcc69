"""The protocol parser: splits the broker's bytes into messages in one pass over each chunk."""

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

    def reset(self) -> None:
        """Start a new connection: drop unfinished input."""
        self._other.reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Handle each complete message, and keep the rest."""
        data = self._rest + data if self._rest else data
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            if not data.startswith((b"MSG ", b"HMSG "), at):
                await self._other.parse(data[at : line + 2])
                at = line + 2
                continue
            arguments = data[at:line].split(b" ")
            body, end = line + 2, line + 2 + int(arguments[-1])
            if len(data) < end + 2:
                break
            message = _message(arguments, data, body, end)
            if not self._deliver(*message):
                await self._hand_on(*message)
            at = end + 2
        self._rest = data[at:]


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
