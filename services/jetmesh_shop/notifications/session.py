"""An SMTP session after its login: what may go out together does, and the replies come back together."""

import asyncio
from contextlib import suppress
from typing import NamedTuple, Self, cast

import aiosmtplib

LINE_BYTES_MAX = 8192
GOODBYE_SECONDS = 1.0


class Reply(NamedTuple):
    """What the server says to one command: a code, and words of which the last line is kept."""

    code: int
    words: str

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The reply that ends with this line; code 0 where it is none."""
        text = line.decode(errors="replace")
        return cls(int(text[:3]) if text[:3].isdecimal() else 0, text[4:].strip())


class Session(asyncio.Protocol):
    """A session that aiosmtplib has greeted, secured and logged in. From then on its transport is read and written
    here: aiosmtplib waits for the reply to each command before it sends the next."""

    def __init__(self, greeted: aiosmtplib.SMTP) -> None:
        self.takes_utf8 = greeted.supports_extension("smtputf8")
        self.takes_chunks = greeted.supports_extension("chunking")
        self.is_over = False
        self._pipelining = greeted.supports_extension("pipelining")
        self._unread = b""
        self._lines: list[bytes] = []
        self._wanted = 0
        self._answered: asyncio.Future[None] | None = None
        self._transport = cast(asyncio.Transport, greeted.transport)
        self._transport.set_protocol(self)

    async def ask(self, *commands: bytes) -> list[Reply]:
        """The replies to the commands, in order; fewer where the server ends the session meanwhile.

        Raises:
            aiosmtplib.SMTPServerDisconnected: there is none.
        """
        steps = [commands] if self._pipelining else [(command,) for command in commands]
        if replies := [reply for step in steps for reply in await self._exchange(*step)]:
            return replies
        raise aiosmtplib.SMTPServerDisconnected("Connection lost")

    async def quit(self) -> None:
        """Say goodbye and close; a server that is gone already is no concern."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._exchange(b"QUIT\r\n")
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self.is_over = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Replies, or a goodbye that nobody asked for."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._lines += [line for line in lines if line[3:4] != b"-"]
        self.is_over |= len(self._lines) > self._wanted or len(self._unread) > LINE_BYTES_MAX
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server is gone."""
        self.is_over = True
        self._tell()

    async def _exchange(self, *commands: bytes) -> list[Reply]:
        if self.is_over:
            return []
        self._lines, self._wanted = [], len(commands)
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(commands))
        await self._answered
        lines, wanted, self._wanted = self._lines, self._wanted, 0
        return [Reply.from_line(line) for line in lines[:wanted]]

    def _tell(self) -> None:
        is_answered = self.is_over or len(self._lines) >= self._wanted
        if is_answered and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)
