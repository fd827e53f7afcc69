"""A real SMTP server (aiosmtpd) whose replies a test decides, by recipient and by step."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from functools import partial

from aiosmtpd.smtp import SMTP, Envelope, Session

from jetmesh_shop.reference.conversation import Conversation

Reply = Callable[[str], str]
"""The reply to a command about this address; empty: it is taken."""


def always(reply: str) -> Reply:
    return lambda _: reply


TAKEN = always("")


@dataclass
class MailServer:
    """What the server is asked and took; `sender`, `recipient` and `mail` are its replies at those steps."""

    sender: Reply = TAKEN
    recipient: Reply = TAKEN
    mail: Reply = TAKEN
    hangs_up: bool = False
    """Whether it ends the connection where it should say that it took a mail."""
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    took: list[tuple[str, str]] = field(default_factory=list)
    """Recipients and Message-IDs."""
    options: list[str] = field(default_factory=list)

    async def handle_MAIL(self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if reply := self.sender(address):
            return reply
        envelope.mail_from, self.options = address, options
        return "250 2.1.0 ok"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        self.asked[address] += 1
        reply = self.recipient(address)
        if not reply or reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 ok"

    async def handle_DATA(self, smtp: SMTP, _: Session, envelope: Envelope) -> str:
        (recipient,) = envelope.rcpt_tos
        if reply := self.mail(recipient):
            return reply
        assert isinstance(envelope.content, bytes)
        headers = BytesHeaderParser().parsebytes(envelope.content)
        self.took.append((recipient, str(headers["Message-ID"])))
        if self.hangs_up and smtp.transport:
            smtp.transport.close()
        return "250 2.0.0 kept"


class Chunked(MailServer):
    """One that offers to take a mail with the commands that name its sender and recipient."""

    async def handle_EHLO(self, _: SMTP, session: Session, __: Envelope, hostname: str, lines: list[str]) -> list[str]:
        session.host_name = hostname
        return [lines[0], "250-PIPELINING", "250-CHUNKING", *lines[1:]]


@asynccontextmanager
async def serving(
    server: MailServer, context: ssl.SSLContext | None = None, *, smtputf8: bool = False
) -> AsyncIterator[MailServer]:
    """The server, on a free port; with `context` it offers STARTTLS."""
    made = partial(Conversation, server, enable_SMTPUTF8=smtputf8, tls_context=context, hostname="localhost")
    async with await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0) as listening:
        server.url = f"smtp://localhost:{listening.sockets[0].getsockname()[1]}"
        yield server
