"""TLS to the mail server, with a CA of one's own; what goes wrong names the setting and says what to do."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from jetmesh.settings import SettingsError
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mail_server import Server
from jetmesh_shop.notifications.mailer import MailUnavailable
from jetmesh_shop.notifications.wiring import Settings, mailer_of
from tests.services.mail_server import MailServer, serving
from tests.services.test_mail import MAIL, SENDER

CA = trustme.CA()


@pytest.fixture
def ca(tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(file)
    return str(file)


def server_context(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(name).configure_cert(context)
    return context


@asynccontextmanager
async def mailing(url: str, ca: str = "") -> AsyncIterator[SmtpMailer]:
    mailer = SmtpMailer(Server.from_url(url, ca), SENDER)
    yield mailer
    await mailer.aclose()


async def test_starttls_with_a_ca_of_ones_own(ca: str) -> None:
    async with serving(MailServer(), server_context()) as server:
        async with mailing(server.url, ca) as mailer:
            await mailer.send(MAIL)
        assert server.took == [(MAIL.to, MAIL.message_id)]


async def test_a_certificate_that_nobody_trusts_names_the_setting() -> None:
    async with serving(MailServer(), server_context()) as server, mailing(server.url) as mailer:
        with pytest.raises(MailUnavailable, match=r"not trusted .*JETMESH_SMTP_CA must name"):
            await mailer.send(MAIL)


async def test_a_certificate_for_another_name_says_so(ca: str) -> None:
    server = MailServer()
    async with serving(server, server_context("mail.example.com")), mailing(server.url, ca) as mailer:
        with pytest.raises(MailUnavailable, match=r"another name .*JETMESH_SMTP_URL"):
            await mailer.send(MAIL)


async def test_a_server_without_starttls_is_not_spoken_to_in_the_clear(ca: str) -> None:
    async with serving(MailServer()) as server, mailing(server.url, ca) as mailer:
        with pytest.raises(MailUnavailable, match=r"does not offer STARTTLS.*starttls=0"):
            await mailer.send(MAIL)
        async with mailing(f"{server.url}?starttls=0", ca) as plain:
            await plain.send(MAIL)
    assert len(server.took) == 1


async def test_tls_from_the_first_byte_where_it_begins_later_says_what_to_write(ca: str) -> None:
    server = MailServer()
    async with serving(server, server_context()), mailing(server.url.replace("smtp:", "smtps:"), ca) as mailer:
        with pytest.raises(MailUnavailable, match="starttls=1"):
            await mailer.send(MAIL)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"smtp_url": "http://mail"}, "JETMESH_SMTP_URL: a mail server's URL is"),
        ({"smtp_url": "smtp://mail:port"}, "JETMESH_SMTP_URL: a mail server's URL is"),
        ({"smtp_url": "smtp://mail?tls=1"}, "JETMESH_SMTP_URL: a mail server's URL is"),
        ({"smtp_url": "smtp://mail?starttls=yes"}, "JETMESH_SMTP_URL: starttls is 0 or 1"),
        ({"smtp_ca": "nowhere.pem"}, "JETMESH_SMTP_CA: nowhere.pem: No such file"),
        ({"smtp_ca": __file__}, "JETMESH_SMTP_CA: .* has no certificate in PEM"),
        ({"mail_sender": "orders"}, "JETMESH_MAIL_SENDER: 'orders' is no sender: An email address must have an @-sign"),
        ({"mail_sender": "ü@example.com"}, "JETMESH_MAIL_SENDER: .* must be ASCII"),
    ],
)
async def test_a_wrong_setting_is_named_at_start(settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=f"settings: {said}"):
        mailer_of(Settings(**settings))


async def test_a_sender_may_have_a_name_and_a_domain_beyond_ascii() -> None:
    async with serving(MailServer()) as server:
        mailer = SmtpMailer(Server.from_url(server.url), "Bücher <orders@bücher.example>")
        await mailer.send(MAIL)
        await mailer.aclose()
    assert len(server.took) == 1


def written(file: str, contents: bytes) -> None:
    Path(file).write_bytes(contents)


async def test_a_ca_that_was_renewed_counts_at_the_next_connection(ca: str) -> None:
    server = MailServer()
    async with serving(server, server_context()), mailing(server.url, ca) as mailer:
        written(ca, trustme.CA().cert_pem.bytes())
        with pytest.raises(MailUnavailable, match="not trusted"):
            await mailer.send(MAIL)
        written(ca, b"half of a file")
        with pytest.raises(MailUnavailable, match="has no certificate in PEM"):
            await mailer.send(MAIL)
        written(ca, CA.cert_pem.bytes())
        await mailer.send(MAIL)
