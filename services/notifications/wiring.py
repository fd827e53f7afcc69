"""Notifications as it runs: on an SMTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel

from jetmesh.mesh import Mesh
from jetmesh.settings import read
from services.notifications.adapters import SmtpMailer
from services.notifications.service import Notifications


class Settings(BaseModel):
    """`JETMESH_SMTP_URL` (smtp://user:password@host:port?starttls=1) and `JETMESH_MAIL_SENDER`."""

    smtp_url: str = "smtp://127.0.0.1:2525"
    mail_sender: str = "The order mesh <orders@mail.jetmesh.invalid>"


@asynccontextmanager
async def wire(mesh: Mesh) -> AsyncIterator[Notifications]:
    """The mailer, its connections open for as long as the service runs."""
    settings = read(Settings)
    mailer = SmtpMailer(settings.smtp_url, settings.mail_sender)
    try:
        yield Notifications(mailer)
    finally:
        await mailer.aclose()
