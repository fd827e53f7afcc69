"""A local SMTP server that keeps every mail in SQLite, for the demo and the tests.

Its own, since aiosmtpd takes 1.2 ms of CPU a mail (measured), more than sending one.
"""

import asyncio
import re
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from pathlib import Path
from typing import NamedTuple, cast

import click

from jetmesh.common.private_files import keep_private
from jetmesh.common.terminal import say
from jetmesh_shop.files import usable
from jetmesh_shop.group_commit import GroupCommit

SIZE_MAX_BYTES = 10 * 1024 * 1024
COMMAND_MAX_BYTES = 4096
GREETING = b"220 mailsink ESMTP\r\n"
CAPABILITIES = b"250-mailsink\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 SIZE %d\r\n" % SIZE_MAX_BYTES
END_OF_MAIL = b"\r\n.\r\n"
HEADER = re.compile(rb"^(message-id|subject):[ \t]*(.*(?:\r\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
CHUNK = re.compile(rb"(\d{1,9})( LAST)?", re.IGNORECASE)
PATH = re.compile(rb"(?:FROM|TO):[ ]*<([^<>\s]*)>", re.IGNORECASE)
NOWHERE = ".invalid"

SCHEMA = """
CREATE TABLE IF NOT EXISTS mails (
    number INTEGER PRIMARY KEY, message_id TEXT NOT NULL, recipient TEXT NOT NULL, subject TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS contents (number INTEGER PRIMARY KEY, raw BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it came in, for one recipient."""

    recipient: str
    raw: bytes

    def header(self, name: bytes) -> str:
        """The header's decoded value, on one line; empty where there is none."""
        head = self.raw.partition(b"\r\n\r\n")[0]
        values = {found.lower(): value for found, value in HEADER.findall(head)}
        return decoded(" ".join(values.get(name, b"").decode("utf-8", "replace").split()))


def decoded(value: str) -> str:
    """The value with its encoded words (RFC 2047) read; as it is where they are broken."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError):
        return value


class Store:
    """The mails' file. A killed process loses nothing acknowledged (WAL; NORMAL, so that a power cut may)."""

    def __init__(self, path: Path) -> None:
        with usable(path, "the mails", sqlite3.DatabaseError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)

    def keep(self, mails: Sequence[Received]) -> list[Exception | None]:
        """Store the mails in one transaction."""
        at = datetime.now(UTC).isoformat()
        with self._db:
            for mail in mails:
                row = (mail.header(b"message-id"), mail.recipient, mail.header(b"subject"), at)
                added = self._db.execute(
                    "INSERT INTO mails (message_id, recipient, subject, at) VALUES (?, ?, ?, ?)", row
                )
                self._db.execute("INSERT INTO contents VALUES (?, ?)", (added.lastrowid, mail.raw))
        return [None] * len(mails)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class Chunk(NamedTuple):
    """The part of a mail that comes next."""

    size_bytes: int
    is_last: bool


class Session(asyncio.Protocol):
    """One SMTP conversation (RFC 5321), commands pipelined or not (RFC 2920), mails whole or in chunks
    (RFC 3030); recipients at .invalid are refused."""

    def __init__(self, store: GroupCommit[Received, None]) -> None:
        self._store = store
        self._buffer = bytearray()
        self._sender: bytes | None = None
        self._recipients: list[str] = []
        self._in_mail = False
        self._chunk: Chunk | None = None
        self._chunks = b""
        self._storing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports don't inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        """Answer everything that is complete; the answers leave together."""
        replies = []
        while self._storing is None and (part := self._next_part()) is not None:
            if self._chunk:
                replies.append(self._add(part, self._chunk))
            else:
                replies.append(self._receive(part) if self._in_mail else self._obey(part))
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join(replies))
        if any(reply[:3] in (b"221", b"500", b"552") for reply in replies):
            self._transport.close()

    def _next_part(self) -> bytes | None:
        """The next command, or the mail, without what ends it; None while it is incomplete."""
        if self._chunk:
            return self._next_chunk(self._chunk.size_bytes)
        ending, size_max = (END_OF_MAIL, SIZE_MAX_BYTES) if self._in_mail else (b"\r\n", COMMAND_MAX_BYTES)
        part, found, rest = self._buffer.partition(ending)
        if not found and len(part) <= size_max:
            return None
        self._buffer = rest
        return bytes(part)

    def _next_chunk(self, size_bytes: int) -> bytes | None:
        if len(self._buffer) < size_bytes:
            return None
        part = bytes(self._buffer[:size_bytes])
        del self._buffer[:size_bytes]
        return part

    def _add(self, part: bytes, chunk: Chunk) -> bytes:
        self._chunk = None
        if not self._recipients:
            return b"554 5.5.1 no valid recipients\r\n"
        self._chunks += part
        return self._store_all(self._chunks) if chunk.is_last else b"250 2.0.0 go on\r\n"

    def _receive(self, mail: bytes) -> bytes:
        self._in_mail = False
        return self._store_all(mail.removeprefix(b"\r\n").replace(b"\r\n..", b"\r\n.") + b"\r\n")

    def _store_all(self, raw: bytes) -> bytes:
        recipients = self._reset()
        if len(raw) > SIZE_MAX_BYTES:
            return b"552 5.3.4 larger than SIZE\r\n"
        self._storing = asyncio.get_running_loop().create_task(self._keep(recipients, raw))
        return b""

    async def _keep(self, recipients: list[str], raw: bytes) -> None:
        try:
            await asyncio.gather(*(self._store.submit(Received(recipient, raw)) for recipient in recipients))
            reply = b"250 2.0.0 kept\r\n"
        except (sqlite3.Error, RuntimeError):
            reply = b"451 4.3.0 not kept\r\n"
        if self._transport.is_closing():
            return
        self._transport.write(reply)
        self._storing = None
        self._advance()

    def _obey(self, line: bytes) -> bytes:
        verb, _, argument = line.partition(b" ")
        match verb.upper():
            case b"EHLO":
                return CAPABILITIES
            case b"MAIL":
                return self._mail(argument)
            case b"RCPT":
                return self._rcpt(argument)
            case b"DATA":
                return self._data()
            case b"BDAT":
                return self._bdat(argument)
            case other:
                return self._housekeeping(other, len(line))

    def _housekeeping(self, verb: bytes, length_bytes: int) -> bytes:
        if verb in (b"RSET", b"HELO", b"NOOP"):
            if verb == b"RSET":
                self._reset()
            return b"250 2.0.0 ok\r\n"
        if verb == b"QUIT":
            return b"221 2.0.0 bye\r\n"
        if length_bytes > COMMAND_MAX_BYTES:
            return b"500 5.5.2 line too long\r\n"
        return b"502 5.5.1 not implemented\r\n"

    def _mail(self, argument: bytes) -> bytes:
        path = PATH.match(argument)
        if path is None:
            return b"501 5.1.7 MAIL FROM:<address>\r\n"
        self._reset()
        self._sender = path[1]
        return b"250 2.1.0 ok\r\n"

    def _rcpt(self, argument: bytes) -> bytes:
        path = PATH.match(argument)
        if self._sender is None:
            return b"503 5.5.1 MAIL first\r\n"
        if path is None or not path[1]:
            return b"501 5.1.3 RCPT TO:<address>\r\n"
        recipient = path[1].decode("utf-8", "replace")
        if recipient.endswith(NOWHERE):
            return b"550 5.1.2 no such domain\r\n"
        self._recipients.append(recipient)
        return b"250 2.1.5 ok\r\n"

    def _data(self) -> bytes:
        if not self._recipients:
            return b"554 5.5.1 no valid recipients\r\n"
        self._in_mail = True
        # The line end before the mail belongs to DATA; with it, an empty mail ends as any other.
        self._buffer[:0] = b"\r\n"
        return b"354 go on\r\n"

    def _bdat(self, argument: bytes) -> bytes:
        found = CHUNK.fullmatch(argument)
        if found is None:
            return b"501 5.5.4 BDAT size [LAST]\r\n"
        self._chunk = Chunk(int(found[1]), found[2] is not None)
        if len(self._chunks) + self._chunk.size_bytes > SIZE_MAX_BYTES:
            return b"552 5.3.4 larger than SIZE\r\n"
        return b""

    def _reset(self) -> list[str]:
        self._chunks = b""
        recipients, self._recipients, self._sender = self._recipients, [], None
        return recipients


@dataclass(frozen=True, slots=True)
class Kept:
    """A mail in the sink."""

    number: int
    message_id: str
    recipient: str
    subject: str
    at: datetime


class MailSink:
    """The sink's mails for a reader: tests, audits, the curious."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)

    def count(self) -> int:
        """How many mails came in, doubles included."""
        return int(self._db.execute("SELECT count(*) FROM mails").fetchone()[0])

    def mails(self, recipient: str | None = None) -> Iterator[Kept]:
        """The mails, to one recipient or to all, oldest first."""
        rows = self._db.execute(
            "SELECT number, message_id, recipient, subject, at FROM mails WHERE recipient = coalesce(?, recipient)"
            " ORDER BY number",
            (recipient,),
        )
        return (
            Kept(number, message_id, to, subject, datetime.fromisoformat(at))
            for number, message_id, to, subject, at in rows
        )

    def copies(self) -> dict[str, int]:
        """How often each Message-ID came in; more than once for one recipient is a double."""
        return dict(self._db.execute("SELECT message_id, count(*) FROM mails GROUP BY 1"))

    def doubles(self) -> dict[str, int]:
        """The Message-IDs that came in more than once, with their number of copies."""
        return {message_id: copies for message_id, copies in self.copies().items() if copies > 1}

    def raw(self, number: int) -> bytes:
        """The mail's bytes. Raises KeyError where there is none of this number."""
        row = self._db.execute("SELECT raw FROM contents WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        return bytes(row[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()


async def serve(path: Path, host: str, port: int) -> None:
    """Take mails until SIGTERM or SIGINT; says where on standard output, once it listens."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    file = Store(path)
    store: GroupCommit[Received, None] = GroupCommit(file.keep, "mailsink")
    server = await loop.create_server(lambda: Session(store), host, port)
    say(f"smtp://{host}:{server.sockets[0].getsockname()[1]}")
    await stopped.wait()
    server.close()
    await store.aclose()
    file.close()


@click.command()
@click.option("--path", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file of the mails.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=0, help="0: a free one, printed on the first line.")
def main(path: Path, host: str, port: int) -> None:
    """Run a mail server that keeps every mail."""
    keep_private()
    try:
        asyncio.run(serve(path, host, port))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
