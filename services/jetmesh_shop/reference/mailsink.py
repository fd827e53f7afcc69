"""A local SMTP server that keeps every mail in SQLite, for the demo and the tests."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.parser import HeaderParser
from email.policy import compat32, default
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
from aiosmtpd.smtp import SMTP, Envelope, Session

from jetmesh.common.terminal import say
from jetmesh.local.program import run
from jetmesh.sql import usable
from jetmesh_shop.reference.conversation import Conversation

NOWHERE = ".invalid"
HEADERS = HeaderParser(policy=compat32)
"""`default` reads what values mean, which takes seven times as long."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS mails (
    number INTEGER PRIMARY KEY, message_id TEXT NOT NULL, recipient TEXT NOT NULL, subject TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_message_id ON mails (message_id);
CREATE TABLE IF NOT EXISTS contents (number INTEGER PRIMARY KEY, raw BLOB NOT NULL);
"""
MAILS = "SELECT message_id, recipient, subject, at, raw FROM mails JOIN contents USING (number)"


class Store:
    """The mails' file. A killed process loses nothing acknowledged (WAL; NORMAL, so that a power cut may)."""

    def __init__(self, path: Path) -> None:
        with usable(path, "the mails", sqlite3.DatabaseError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)

    def keep(self, recipients: list[str], raw: bytes) -> None:
        """Store the mail, once for each recipient."""
        message_id, subject = headers(raw.partition(b"\r\n\r\n")[0], "Message-ID", "Subject")
        at = datetime.now(UTC).isoformat()
        with self._db:
            for recipient in recipients:
                added = self._db.execute(
                    "INSERT INTO mails (message_id, recipient, subject, at) VALUES (?, ?, ?, ?)",
                    (message_id, recipient, subject, at),
                )
                self._db.execute("INSERT INTO contents VALUES (?, ?)", (added.lastrowid, raw))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def headers(head: bytes, *names: str) -> list[str]:
    """The values of these headers, each in one line, as they were sent; empty where there is none."""
    found = HEADERS.parsestr(head.decode(errors="replace"))
    return [" ".join(found.get(name, "").split()) for name in names]


class Keeper:
    """What aiosmtpd asks at each step; recipients at .invalid are refused."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle_EHLO(self, _: SMTP, session: Session, __: Envelope, hostname: str, lines: list[str]) -> list[str]:
        """What the server can do. aiosmtpd reads a line at a time, so commands may come together (RFC 2920), and a mail
        with them (RFC 3030)."""
        session.host_name = hostname
        return [lines[0], "250-PIPELINING", "250-CHUNKING", *lines[1:]]

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        """One recipient of the mail."""
        if address.endswith(NOWHERE):
            return "550 5.1.2 no such domain"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        """The mail itself."""
        assert isinstance(envelope.content, bytes)
        try:
            self._store.keep(envelope.rcpt_tos, envelope.content)
        except sqlite3.Error:
            return "451 4.3.0 not kept"
        return "250 2.0.0 kept"


class Kept(NamedTuple):
    """A mail in the sink."""

    message_id: str
    recipient: str
    subject: str
    at: str
    """When it came in, in UTC, ISO 8601."""
    raw: bytes

    @property
    def text(self) -> str:
        """Its text, as a reader sees it."""
        return part_of(message_from_bytes(self.raw, policy=default), "plain").replace("\r\n", "\n")


def part_of(message: EmailMessage, kind: str) -> str:
    """The part of a mail that is of this kind: plain, html."""
    part = message.get_body((kind,))
    return "" if part is None else str(part.get_content())


class MailSink:
    """The sink's mails for a reader: tests, audits, the curious."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)

    def mails(self, *message_ids: str) -> list[Kept]:
        """The mails with these Message-IDs, by default all, oldest first."""
        chosen = f"WHERE message_id IN ({', '.join('?' * len(message_ids))})" if message_ids else ""
        rows = self._db.execute(f"{MAILS} {chosen} ORDER BY number", message_ids)
        return [
            Kept(message_id, to, str(default.header_factory("Subject", subject)), at, raw)
            for message_id, to, subject, at, raw in rows
        ]

    def copies(self) -> dict[str, int]:
        """How often each Message-ID came in; more than once for one recipient is a double."""
        return dict(self._db.execute("SELECT message_id, count(*) FROM mails GROUP BY 1"))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


async def serve(path: Path, host: str, port: int) -> None:
    """Take mails until cancelled; says where on standard output, once it listens."""
    with closing(Store(path)) as store:
        session = partial(Conversation, Keeper(store), hostname="mailsink")
        with closing(await asyncio.get_running_loop().create_server(session, host, port)) as server:
            say(f"smtp://{host}:{server.sockets[0].getsockname()[1]}")
            await asyncio.Event().wait()


@click.command()
@click.option("--path", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file of the mails.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=0, help="0: a free one, printed on the first line.")
def main(path: Path, host: str, port: int) -> None:
    """Run a mail server that keeps every mail."""
    run(serve(path, host, port))


if __name__ == "__main__":
    main()
