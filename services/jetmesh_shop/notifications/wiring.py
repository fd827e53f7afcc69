"""Notifications as it runs: on an SMTP server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from pydantic import BaseModel

from jetmesh import Context, SettingsError, read_settings
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mail_server import Server
from jetmesh_shop.notifications.service import Notifications


class Settings(BaseModel):
    """`JETMESH_SMTP_URL` (smtp://user:password@host:port?starttls=1), `JETMESH_SMTP_CA` (a file of certificates that
    sign the server's) and `JETMESH_MAIL_SENDER`."""

    smtp_url: str = "smtp://127.0.0.1:2525"
    smtp_ca: str = ""
    mail_sender: str = "The order mesh <orders@mail.jetmesh.invalid>"


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Notifications]:
    """The mailer, its connections open for as long as the service runs."""
    mailer = mailer_of(read_settings(Settings))
    try:
        yield Notifications(mailer)
    finally:
        await mailer.aclose()


def mailer_of(settings: Settings) -> SmtpMailer:
    """The mailer that the settings describe.

    Raises:
        SettingsError: one of them is none; the text names it.
    """
    with named("JETMESH_SMTP_URL"):
        server = Server.from_url(settings.smtp_url, settings.smtp_ca)
    with named("JETMESH_SMTP_CA"):
        server.prepare()
    with named("JETMESH_MAIL_SENDER"):
        return SmtpMailer(server, settings.mail_sender)


@contextmanager
def named(variable: str) -> Iterator[None]:
    """What is wrong inside is wrong with this variable of the environment."""
    try:
        yield
    except ValueError as wrong:
        raise SettingsError(f"settings: {variable}: {wrong}") from None
