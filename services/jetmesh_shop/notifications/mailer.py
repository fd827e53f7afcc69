"""A mail and the way out as notifications sees them: send it, or learn whether to try again."""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from jetmesh import Deferred, Permanent, Unavailable


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one customer; `message_id` ("<...@...>") is the same at every attempt, so that doubles are seen."""

    message_id: str
    to: str
    subject: str
    text: str
    html: str


class MailUnavailable(Unavailable):
    """The mail server did not take the mail, or did not answer: try again later."""


class MailDeferred(Deferred):
    """The mail server answers and puts off this mail alone: a mailbox is full, a recipient is greylisted."""


class MailRefused(Permanent):
    """This mail will never be taken: the server, or the address itself, says so."""


class Mailer(Protocol):
    """The way out: one call sends one mail."""

    async def send(self, mail: Mail) -> None:
        """Hand the mail over; returns when the server is responsible for it.

        Raises:
            MailUnavailable: the server takes none now; whether the mail went out may be unknown.
            MailDeferred: the server takes others; this one did not go out.
            MailRefused: for good.
        """
        ...


def message_id(kind: str, order_id: str) -> str:
    """The Message-ID (RFC 5322, section 3.6.4) of the one mail of this kind about this order."""
    return f"<{kind}.{quote(order_id, safe='')}@mail.jetmesh.invalid>"
