"""The world outside notifications: a mail server, over a few sessions that are kept open."""

import asyncio
import time
from contextlib import suppress

import aiosmtplib

from jetmesh_shop.addresses import Mailable
from jetmesh_shop.notifications.mail_server import TIMEOUT_SECONDS, Server, UnusableCa
from jetmesh_shop.notifications.mailer import Mail, MailRefused, MailUnavailable
from jetmesh_shop.notifications.mime import compose, read_sender, recipient_of
from jetmesh_shop.notifications.replies import CLOSING, Step, refusal
from jetmesh_shop.notifications.session import Reply, Session

IDLE_SECONDS_MAX = 60.0
SESSIONS_MAX = 4
ENVELOPE: tuple[tuple[Step, int], ...] = (("the sender", 2), ("the recipient", 2))
TAKEN: tuple[Step, int] = ("the mail", 2)
"""The steps of a mail, and the kind of reply with which each is done."""


class SessionEnded(MailUnavailable):
    """The server ended the session before a mail was sent."""


class SmtpMailer:
    """A Mailer over SMTP: at most `sessions_max` mails at once, each session used for many."""

    def __init__(self, server: Server, sender: str, sessions_max: int = SESSIONS_MAX) -> None:
        """Raises ValueError where `sender` ("Name <address>") is none."""
        self._server = server
        self._sender, self._sender_address = read_sender(sender)
        self._slots = asyncio.Semaphore(sessions_max)
        self._idle: list[tuple[float, Session]] = []

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
        """Close the sessions; a mail under way fails."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.quit() for _, session in idle))

    async def _deliver(self, recipient: Mailable, message: bytes) -> None:
        """Deliver in a session that is kept; where the server has ended all of those, in a new one."""
        while kept := self._kept():
            with suppress(SessionEnded):
                return await self._deliver_in(kept, recipient, message)
        await self._deliver_in(Session(await self._server.connect()), recipient, message)

    async def _deliver_in(self, session: Session, recipient: Mailable, message: bytes) -> None:
        try:
            envelope = self._envelope(session, recipient)
            if session.takes_chunks:
                chunk = b"BDAT %d LAST\r\n%b" % (len(message), message)
                _check(await session.ask(*envelope, chunk), *ENVELOPE, TAKEN)
            else:
                await self._announce(session, *envelope)
                _check(await session.ask(message.replace(b"\r\n.", b"\r\n..") + b".\r\n"), TAKEN)
        except BaseException:
            session.close()  # in whatever state it is
            raise
        self._idle.append((time.monotonic(), session))

    def _envelope(self, session: Session, recipient: Mailable) -> tuple[bytes, bytes]:
        """The commands that name the sender and the recipient."""
        if recipient.needs_smtputf8 and not session.takes_utf8:
            raise MailRefused(
                "the recipient's address is not ASCII, and the mail server does not offer SMTPUTF8: unset "
                "JETMESH_MAIL_SMTPUTF8, so that orders refuses such an address"
            )
        options = b" SMTPUTF8" if recipient.needs_smtputf8 else b""
        sender = b"MAIL FROM:<%b>%b\r\n" % (self._sender_address.encode(), options)
        return sender, b"RCPT TO:<%b>\r\n" % str(recipient).encode()

    async def _announce(self, session: Session, sender: bytes, to: bytes) -> None:
        """Until the server waits for the mail; where it ends the session instead, it has none of it."""
        try:
            replies = await session.ask(sender, to, b"DATA\r\n")
        except aiosmtplib.SMTPServerDisconnected as error:
            raise SessionEnded(self._server.trouble(error)) from error
        _check(replies, *ENVELOPE, ("the mail", 3))

    def _kept(self) -> Session | None:
        """A session that the next mail may try: not over, and not idle for so long that it may be dead."""
        while self._idle:
            used_at, session = self._idle.pop()
            if not session.is_over and time.monotonic() - used_at <= IDLE_SECONDS_MAX:
                return session
            session.close()
        return None


def _check(replies: list[Reply], *expected: tuple[Step, int]) -> None:
    """Go on where each step's reply is of the kind that it should be: 2, done; 3, go on. A goodbye to the first step
    means that the server has nothing of the mail."""
    if replies[0].code == CLOSING and expected[0] == ENVELOPE[0]:
        raise SessionEnded(f"the sender was refused with {CLOSING}")
    for (step, kind), (code, words) in zip(expected, replies, strict=False):
        if code // 100 != kind:
            raise refusal(step, code, words)
    if len(replies) < len(expected):
        raise aiosmtplib.SMTPServerDisconnected("Connection lost")
