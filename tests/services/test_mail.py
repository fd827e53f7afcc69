"""Mail: composed safely, sent over connections that are kept, refused or put off by what the server says."""

import asyncio
import email.policy
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage
from email.parser import BytesParser
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetmesh_shop.notifications import templates
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mail_server import Server
from jetmesh_shop.notifications.mailer import Mail, MailDeferred, MailRefused, MailUnavailable
from jetmesh_shop.notifications.mime import compose
from jetmesh_shop.reference.conversation import Conversation
from jetmesh_shop.reference.mailsink import Keeper, MailSink, Store, headers

SENDER = "jetmesh pizza <orders@example.com>"
CONTENTS = templates.confirmation("o-1042", [("pizza-margherita", 2, 1150), ("<cola>", 1, 300)], "EUR", 2600)
MAIL = CONTENTS.to("ada@example.com", "<o-1042.confirmation@jetmesh.example>")


class Sink:
    """A mail sink in a process of its own, on a free port."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command = [sys.executable, "-m", "jetmesh_shop.reference.mailsink", "--path", str(path)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def stop(self) -> int:
        self._process.terminate()
        code = self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        self._process.kill()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    sink = Sink(tmp_path / "mails.sqlite")
    yield sink
    sink.stop()


@pytest.fixture
async def mailer(sink: Sink) -> AsyncIterator[SmtpMailer]:
    mailer = SmtpMailer(Server.from_url(sink.url), SENDER)
    yield mailer
    await mailer.aclose()


def parsed(raw: bytes) -> EmailMessage:
    return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(raw)


def content(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


async def test_a_mail_arrives_as_it_was_written(mailer: SmtpMailer, sink: Sink) -> None:
    dotted = replace(MAIL, subject="Grüße, o-1042", text=".\r\n..two\n. three\n\nFrom ü\n", html="<p>.\n.</p>")
    await mailer.send(dotted)
    (kept,) = MailSink(sink.path).mails()
    assert (kept.message_id, kept.recipient, kept.subject) == (MAIL.message_id, MAIL.to, "Grüße, o-1042")
    message = parsed(kept.raw)
    assert (message["From"], message["To"], message["Message-ID"]) == (SENDER, MAIL.to, MAIL.message_id)
    assert content(message, "plain").splitlines() == dotted.text.splitlines()
    assert content(message, "html").splitlines() == dotted.html.splitlines()


async def test_many_mails_at_once_share_a_few_connections(mailer: SmtpMailer, sink: Sink) -> None:
    await asyncio.gather(*(mailer.send(replace(MAIL, message_id=f"<{number}@test>")) for number in range(200)))
    assert MailSink(sink.path).copies() == {f"<{number}@test>": 1 for number in range(200)}


@pytest.mark.parametrize(
    ("head", "value"),
    [
        (b"From: a\r\nsubject:  two\r\n\twords \r\nTo: b", "two words"),
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        ("Subject: Grüße".encode(), "Grüße"),
        (b"Subject:\r\nTo: b", ""),
        (b"X-Subject: other\r\nTo: Subject: other", ""),
    ],
    ids=["folded", "encoded", "UTF-8", "empty", "none"],
)
def test_the_sink_reads_a_header_in_one_line(head: bytes, value: str) -> None:
    assert headers(head, "Subject") == [value]


async def test_the_sink_shows_a_mail_that_came_twice(mailer: SmtpMailer, sink: Sink) -> None:
    for mail in (MAIL, MAIL, replace(MAIL, message_id="<other@test>")):
        await mailer.send(mail)
    assert MailSink(sink.path).copies() == {MAIL.message_id: 2, "<other@test>": 1}


async def conversed(port: int, *commands: bytes) -> list[bytes]:
    """The codes with which the server answers commands that come together."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join([b"EHLO test\r\n", *commands, b"QUIT\r\n"]))
    replies = (await reader.read()).splitlines()
    writer.close()
    return [reply[:3] for reply in replies if reply[3:4] == b" "]


async def test_the_sink_takes_a_mail_in_pieces_and_ends_the_session_where_it_cannot_tell_it_from_commands(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mails.sqlite"
    envelope = b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<d@e.f>\r\n"
    pieces = b"BDAT 9\r\nSubject: ", b"BDAT 2 LAST\r\nhi"
    made = partial(Conversation, Keeper(Store(path)), hostname="sink")
    async with await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        codes = await conversed(port, *envelope, *pieces, envelope[0], *pieces, *envelope, pieces[1])
        wrong = [
            (await conversed(port, *envelope, b"BDAT %b\r\n" % size))[-1]
            for size in (b"", b"-2 LAST", b"2 FIRST", b"99999999 LAST")
        ]
    assert codes == [b"220", *[b"250"] * 6, b"503", b"503", *[b"250"] * 3, b"221"]
    assert wrong == [b"501", b"501", b"501", b"552"]
    assert [kept.raw for kept in MailSink(path).mails()] == [b"Subject: hi", b"hi"]


async def test_a_refused_recipient_is_final_named_nowhere_and_harms_no_other_mail(mailer: SmtpMailer) -> None:
    with pytest.raises(MailRefused, match=r"recipient was refused with 550 5\.1\.2$"):
        await mailer.send(replace(MAIL, to="ada@nowhere.invalid"))
    await mailer.send(MAIL)


async def test_a_server_that_is_gone_is_tried_again_and_found_when_it_is_back(tmp_path: Path) -> None:
    first = Sink(tmp_path / "mails.sqlite")
    port = first.url.rpartition(":")[2]
    mailer = SmtpMailer(Server.from_url(first.url), SENDER)
    await mailer.send(MAIL)
    first.kill()
    first.stop()
    for _ in range(2):
        with pytest.raises(MailUnavailable):
            await mailer.send(MAIL)
    async with full_mailbox_server(int(port)):
        with pytest.raises(MailDeferred, match=r"the recipient was refused with 450 4\.2\.1"):
            await mailer.send(MAIL)
    await mailer.aclose()
    assert len(MailSink(tmp_path / "mails.sqlite").mails()) == 1


async def test_a_server_that_said_goodbye_is_not_given_the_next_mail() -> None:
    mails = 0
    replies = {b"DATA": b"354 go on", b"QUIT": b"221 bye"}

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal mails
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            writer.write(replies.get(line[:4], b"250 ok") + b"\r\n")
            if line.startswith(b"DATA"):
                await reader.readuntil(b"\r\n.\r\n")
                mails += 1
                writer.write(b"250 2.0.0 kept\r\n421 4.4.2 idle\r\n")
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
        mailer = SmtpMailer(Server.from_url(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"), SENDER)
        for _ in range(3):
            await mailer.send(MAIL)
        await mailer.aclose()
    assert mails == 3


@asynccontextmanager
async def full_mailbox_server(port: int) -> AsyncIterator[None]:
    """A server without pipelining that has no room right now; it ends after its only client."""
    hung_up = asyncio.Event()
    replies = {b"EHLO": b"250 test", b"MAIL": b"250 ok", b"RCPT": b"450 4.2.1 <ada@example.com> is full"}

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            writer.write(replies.get(line[:4], b"503 no") + b"\r\n")
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(converse, "127.0.0.1", port):
        yield
        await asyncio.wait_for(hung_up.wait(), 10)


@pytest.mark.parametrize(
    "address", ["", "ada", "ada@example.com\r\nBcc: eve@example.com", "a b@example.com", "<ada>@x.com", "a,b@c.d"]
)
def test_an_address_that_could_end_a_header_or_a_command_is_refused_unnamed(address: str) -> None:
    with pytest.raises(MailRefused) as refused:
        compose(replace(MAIL, to=address), SENDER)
    assert not address or address not in str(refused.value)


@given(subject=st.text(max_size=300), text=st.text(), html=st.text())
@settings(deadline=None)
def test_no_content_reaches_the_headers_or_the_other_part(subject: str, text: str, html: str) -> None:
    raw = compose(Mail("<m@test>", "ada@example.com", subject, text, html), SENDER)
    message = parsed(raw)
    assert sorted(message.keys()) == sorted(HEADERS)
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert content(message, "html").splitlines() == "\n".join(html.splitlines()).splitlines()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")


HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Auto-Submitted",
    "Content-Type",
]


def test_a_message_id_is_given_and_never_made_up() -> None:
    for wrong in ("", "o-1", "<o-1@x>\r\nBcc: eve@example.com", "<o-1>"):
        with pytest.raises(ValueError, match="Message-ID"):
            compose(replace(MAIL, message_id=wrong), SENDER)


def test_the_mails_say_what_was_ordered_and_escape_it() -> None:
    assert "23.00 EUR" in CONTENTS.text
    assert "26.00 EUR" in CONTENTS.html
    assert "&lt;cola&gt;" in CONTENTS.html
    assert "<cola>" not in CONTENTS.html


def test_every_reason_is_told_in_words() -> None:
    assert "out of stock" in templates.cancellation("o-1", "out_of_stock").text
    assert "no article 'x'." in templates.refusal("o-1", "no article 'x'.").text
    assert "2,600 JPY" in templates.receipt("o-1", "JPY", 2600).text


def test_a_server_url_is_read_and_its_password_never_shown() -> None:
    server = Server.from_url("smtp://ada:s%40cret@mail.example.com:587?starttls=1")
    assert (server.host, server.port, server.user, server.password) == ("mail.example.com", 587, "ada", "s@cret")
    assert (server.tls, server.starttls) == (False, True)
    assert "s@cret" not in repr(server)
    assert Server.from_url("smtps://mail.example.com").port == 465
    with pytest.raises(ValueError, match="smtp://") as wrong:
        Server.from_url("http://ada:secret@mail.example.com")
    assert "secret" not in str(wrong.value)


def test_the_sink_ends_cleanly_when_told_to(tmp_path: Path) -> None:
    assert Sink(tmp_path / "mails.sqlite").stop() == 0
