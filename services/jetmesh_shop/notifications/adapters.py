"""The world outside notifications: a mail server, over a few connections that are kept open."""

import asyncio
import time
from collections.abc import Iterator
from typing import cast

import aiosmtplib

from jetmesh_shop.addresses import Mailable
from jetmesh_shop.notifications.mail_server import TIMEOUT_SECONDS, Server, UnusableCa
from jetmesh_shop.notifications.mailer import Mail, MailRefused, MailUnavailable
from jetmesh_shop.notifications.mime import compose, read_sender, recipient_of
from jetmesh_shop.notifications.replies import CLOSED, Reply

IDLE_SECONDS_MAX = 60.0
CONNECTIONS_MAX = 4


class Dialogue(asyncio.Protocol):
    """Commands go out together, and their replies come back together: one wake-up, however many there are."""

    def __init__(self) -> None:
        self._unread = b""
        self._replies: list[bytes] = []
        self._wanted = 0
        self._complete: asyncio.Future[None] | None = None
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports don't inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._replies += [line for line in lines if line[3:4] != b"-"]
        if self._complete is None:
            self.is_over = True  # nobody asked: it says goodbye
        elif len(self._replies) >= self._wanted and not self._complete.done():
            self._complete.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)

    async def ask(self, *commands: bytes) -> list[Reply]:
        """The replies to the commands, in order; fewer, where the server closes the connection meanwhile. Raises
        MailUnavailable where it is closed already."""
        if self.is_over:
            raise MailUnavailable(CLOSED)
        self._complete, self._wanted = asyncio.get_running_loop().create_future(), len(commands)
        self._transport.write(b"".join(commands))
        await self._complete
        lines, self._replies, self._complete = self._replies, [], None
        if len(lines) > self._wanted:
            self.is_over = True
        return [Reply.from_line(line) for line in lines[: self._wanted]]

    def close(self) -> None:
        """Close without a word."""
        self.is_over = True
        self._transport.close()


class Connection:
    """An open session, in which a mail is one write and one answer where the server takes commands in a row (RFC 2920)
    and a mail in one chunk (RFC 3030).

    aiosmtplib greets, secures and logs in; from then on its transport is read and written here, since it waits for
    each command's reply on its own (0.7 ms of CPU a mail, measured, against 0.1 ms).
    """

    def __init__(self, session: aiosmtplib.SMTP) -> None:
        transport = cast(asyncio.Transport, session.transport)
        self._pipelining = session.supports_extension("pipelining")
        self._chunking = session.supports_extension("chunking")
        self._smtputf8 = session.supports_extension("smtputf8")
        self._dialogue = Dialogue()
        transport.set_protocol(self._dialogue)
        self._dialogue.connection_made(transport)
        self._used_at = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether the next mail may try it: open, as far as known, and not idle for so long that it may be dead."""
        return not self._dialogue.is_over and time.monotonic() - self._used_at <= IDLE_SECONDS_MAX

    async def deliver(self, sender: str, recipient: Mailable, message: bytes) -> None:
        """Hand one mail over. After an error the connection is in an unknown state and must be closed."""
        if recipient.needs_smtputf8 and not self._smtputf8:
            raise MailRefused(
                "the recipient's address is not ASCII, and the mail server does not offer SMTPUTF8: unset "
                "JETMESH_MAIL_SMTPUTF8, so that orders refuses such an address"
            )
        options = b" SMTPUTF8" if recipient.needs_smtputf8 else b""
        envelope = b"MAIL FROM:<%b>%b\r\n" % (sender.encode(), options), b"RCPT TO:<%b>\r\n" % str(recipient).encode()
        content = b"BDAT %d LAST\r\n%b" % (len(message), message) if self._chunking else b"DATA\r\n"
        replies = iter(await self._ask(*envelope, content))
        _next(replies).expect(2, "the sender")
        _next(replies).expect(2, "the recipient")
        if not self._chunking:
            _next(replies).expect(3, "the start of the mail")
            replies = iter(await self._ask(message.replace(b"\r\n.", b"\r\n..") + b".\r\n"))
        _next(replies).expect(2, "the mail")
        self._used_at = time.monotonic()

    async def quit(self) -> None:
        """Say goodbye and close; a server that is gone already is no concern."""
        try:
            async with asyncio.timeout(1):
                await self._ask(b"QUIT\r\n")
        except (OSError, MailUnavailable):
            pass
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self._dialogue.close()

    async def _ask(self, *commands: bytes) -> list[Reply]:
        if self._pipelining:
            return await self._dialogue.ask(*commands)
        return [reply for command in commands for reply in await self._dialogue.ask(command)]


def _next(replies: Iterator[Reply]) -> Reply:
    """The next reply. Raises MailUnavailable where there is none: the server closed the connection."""
    for reply in replies:
        return reply
    raise MailUnavailable(CLOSED)


class SmtpMailer:
    """A Mailer over SMTP: at most `connections_max` mails at once, each connection used for many."""

    def __init__(self, server: Server, sender: str, connections_max: int = CONNECTIONS_MAX) -> None:
        """Raises ValueError where `sender` ("Name <address>") is none."""
        self._server = server
        self._sender, self._sender_address = read_sender(sender)
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[Connection] = []

    async def send(self, mail: Mail) -> None:
        """Hand the mail over; returns when the server is responsible for it. Raises MailUnavailable, MailDeferred,
        MailRefused."""
        recipient, message = recipient_of(mail), compose(mail, self._sender)
        async with self._slots:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._deliver(recipient, message)
            except (aiosmtplib.SMTPException, OSError, UnusableCa) as error:
                raise MailUnavailable(self._server.trouble(error)) from error

    async def aclose(self) -> None:
        """Close the connections; a mail under way fails."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))

    async def _deliver(self, recipient: Mailable, message: bytes) -> None:
        connection = self._idle_connection() or Connection(await self._server.connect())
        try:
            await connection.deliver(self._sender_address, recipient, message)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def _idle_connection(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None
