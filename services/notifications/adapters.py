"""The world outside notifications: a mail server, over a few connections that are kept open."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from services.notifications.mailer import Mail, MailRefused, MailUnavailable
from services.notifications.mime import compose, envelope_address

TIMEOUT_SECONDS = 30.0
IDLE_SECONDS_MAX = 60.0
CONNECTIONS_MAX = 4
ENHANCED_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")

Step = Literal["the sender", "the recipient", "the start of the mail", "the mail"]


@dataclass(frozen=True, slots=True)
class Server:
    """Where the mail server is and how to speak to it; `starttls` None: where it is offered."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    tls: bool
    starttls: bool | None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The server of `smtp://user:pass@host:port?starttls=1`, or `smtps://` for TLS from the first byte.

        Raises:
            ValueError: where it is no such URL; without the URL, which may carry a password.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("a mail server's URL is smtp://[user:password@]host[:port][?starttls=1] or smtps://…")
        tls = parts.scheme == "smtps"
        starttls = parse_qs(parts.query).get("starttls")
        return cls(
            host=parts.hostname,
            port=parts.port or (465 if tls else 25),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=tls,
            starttls=False if tls else (starttls[-1] == "1" if starttls else None),
        )

    async def connect(self) -> aiosmtplib.SMTP:
        """A session greeted, secured and logged in. Raises aiosmtplib.SMTPException, OSError."""
        session = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=self.tls,
            start_tls=self.starttls,
            timeout=TIMEOUT_SECONDS,
        )
        await session.connect()
        if session.is_ehlo_or_helo_needed:
            await session.ehlo()
        return session


class Reply(NamedTuple):
    """A server's answer: its code and, where there is one, its enhanced status (RFC 3463)."""

    code: int
    status: str

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The answer whose last line this is. Raises MailUnavailable where it is none of SMTP."""
        if not line[:3].isdigit():
            raise MailUnavailable("no SMTP server answers")
        status = ENHANCED_STATUS.match(line[4:].decode("ascii", "replace"))
        return cls(int(line[:3]), status[0] if status else "")

    def expect(self, code: int, step: Step) -> None:
        """Go on if the code is the expected one.

        A refused sender concerns every mail, so it is a fault to be mended and no reason to give up this one. The
        server's own words stay out of the errors: they tend to repeat the address.
        """
        if self.code == code:
            return
        problem = f"{step} was refused with {self.code} {self.status}".rstrip()
        if 500 <= self.code < 600 and step != "the sender":
            raise MailRefused(problem)
        raise MailUnavailable(problem)


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
            self._complete.set_exception(MailUnavailable("the mail server closed the connection"))

    async def ask(self, *commands: bytes) -> list[Reply]:
        """The replies to the commands, in order. Raises MailUnavailable where the server does not answer all."""
        if self.is_over:
            raise MailUnavailable("the mail server closed the connection")
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
        self._dialogue = Dialogue()
        transport.set_protocol(self._dialogue)
        self._dialogue.connection_made(transport)
        self._used_at = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether the next mail may try it: open, as far as known, and not idle for so long that it may be dead."""
        return not self._dialogue.is_over and time.monotonic() - self._used_at <= IDLE_SECONDS_MAX

    async def deliver(self, sender: str, recipient: str, message: bytes) -> None:
        """Hand one mail over. After an error the connection is in an unknown state and must be closed."""
        envelope = b"MAIL FROM:<%b>\r\n" % sender.encode(), b"RCPT TO:<%b>\r\n" % recipient.encode()
        content = b"BDAT %d LAST\r\n%b" % (len(message), message) if self._chunking else b"DATA\r\n"
        from_, to, last = await self._ask(*envelope, content)
        from_.expect(250, "the sender")
        to.expect(250, "the recipient")
        if not self._chunking:
            last.expect(354, "the start of the mail")
            (last,) = await self._ask(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        last.expect(250, "the mail")
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


class SmtpMailer:
    """A Mailer over SMTP: at most `connections_max` mails at once, each connection used for many."""

    def __init__(self, url: str, sender: str, connections_max: int = CONNECTIONS_MAX) -> None:
        """Raises ValueError where `url` is no mail server's or `sender` ("Name <address>") no address."""
        self._server = Server.from_url(url)
        self._sender, self._sender_address = sender, envelope_address(sender)
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[Connection] = []

    async def send(self, mail: Mail) -> None:
        """Hand the mail over; returns when the server is responsible for it. Raises MailUnavailable, MailRefused."""
        message = compose(mail, self._sender)
        async with self._slots:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._deliver(mail.to, message)
            except (aiosmtplib.SMTPException, OSError) as error:
                at = f"{self._server.host}:{self._server.port}"
                raise MailUnavailable(f"the mail server at {at}: {type(error).__name__}") from error

    async def aclose(self) -> None:
        """Close the connections; a mail under way fails."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))

    async def _deliver(self, recipient: str, message: bytes) -> None:
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
