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

IDLE_SECONDS_MAX = 60.0
SESSIONS_MAX = 4
GOODBYE_SECONDS = 1.0


class SessionEnded(MailUnavailable):
    """The server ended the session before a mail was sent."""


class SmtpMailer:
    """A Mailer over SMTP: at most `sessions_max` mails at once, each session used for many."""

    def __init__(self, server: Server, sender: str, sessions_max: int = SESSIONS_MAX) -> None:
        """Raises ValueError where `sender` ("Name <address>") is none."""
        self._server = server
        self._sender, self._sender_address = read_sender(sender)
        self._slots = asyncio.Semaphore(sessions_max)
        self._idle: list[tuple[float, aiosmtplib.SMTP]] = []

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
        await asyncio.gather(*(_leave(session) for _, session in idle))

    async def _deliver(self, recipient: Mailable, message: bytes) -> None:
        """Deliver in a session that is kept; where the server has ended all of those, in a new one."""
        while kept := self._kept():
            with suppress(SessionEnded):
                return await self._deliver_in(kept, recipient, message)
        await self._deliver_in(await self._server.connect(), recipient, message)

    async def _deliver_in(self, session: aiosmtplib.SMTP, recipient: Mailable, message: bytes) -> None:
        try:
            await self._begin(session, recipient)
            await _finish(session, recipient, message)
        except BaseException:
            session.close()  # in whatever state it is
            raise
        self._idle.append((time.monotonic(), session))

    async def _begin(self, session: aiosmtplib.SMTP, recipient: Mailable) -> None:
        if recipient.needs_smtputf8 and not session.supports_extension("smtputf8"):
            raise MailRefused(
                "the recipient's address is not ASCII, and the mail server does not offer SMTPUTF8: unset "
                "JETMESH_MAIL_SMTPUTF8, so that orders refuses such an address"
            )
        options = [b"SMTPUTF8"] if recipient.needs_smtputf8 else []
        try:
            await _command(session, "the sender", b"MAIL", b"FROM:<%b>" % self._sender_address.encode(), *options)
        except aiosmtplib.SMTPServerDisconnected as error:
            raise SessionEnded(self._server.trouble(error)) from error

    def _kept(self) -> aiosmtplib.SMTP | None:
        """A session that the next mail may try: not idle for so long that it may be dead."""
        while self._idle:
            used_at, session = self._idle.pop()
            if time.monotonic() - used_at <= IDLE_SECONDS_MAX:
                return session
            session.close()
        return None


async def _finish(session: aiosmtplib.SMTP, recipient: Mailable, message: bytes) -> None:
    await _command(session, "the recipient", b"RCPT", b"TO:<%b>" % str(recipient).encode())
    try:
        await session.data(message)
    except aiosmtplib.SMTPDataError as error:
        raise refusal("the mail", error.code, error.message) from None


async def _command(session: aiosmtplib.SMTP, step: Step, *command: bytes) -> None:
    """One command; every success is one (aiosmtplib's own methods take neither 252 nor an address beyond ASCII)."""
    code, words = await session.execute_command(*command)
    if step == "the sender" and code == CLOSING:
        raise SessionEnded(f"{step} was refused with {code}")
    if code // 100 != 2:
        raise refusal(step, code, words)


async def _leave(session: aiosmtplib.SMTP) -> None:
    """Say goodbye and close; a server that is gone already is no concern."""
    with suppress(aiosmtplib.SMTPException, OSError):
        await session.quit(timeout=GOODBYE_SECONDS)
    session.close()
