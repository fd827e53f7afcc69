"""A mail as bytes: text and HTML, UTF-8, quoted-printable, ready for SMTP's DATA."""

import re
from binascii import b2a_qp
from email.header import Header
from email.utils import formatdate, parseaddr
from functools import lru_cache
from hashlib import blake2b

from jetmesh_shop.addresses import Mailable, Unmailable, mailable
from jetmesh_shop.notifications.mailer import Mail, MailRefused

MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
SUBJECT_LENGTH_MAX = 200

# "=_" can't stand in quoted-printable text, so the boundary never occurs in a part.
SKELETON = (
    b"From: %b\r\n"
    b"To: %b\r\n"
    b"Subject: %b\r\n"
    b"Date: %b\r\n"
    b"Message-ID: %b\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Auto-Submitted: auto-generated\r\n"
    b'Content-Type: multipart/alternative; boundary="=_%b"\r\n'
    b"\r\n"
    b"--=_%b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"\r\n"
    b"%b\r\n"
    b"--=_%b\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"\r\n"
    b"%b\r\n"
    b"--=_%b--\r\n"
)


def read_sender(sender: str) -> tuple[str, str]:
    """`sender` ("Name <address>", or the address alone) as a header and as the envelope says it. Raises ValueError."""
    name, address = parseaddr(sender)
    try:
        envelope = mailable(address)
    except Unmailable as wrong:
        raise ValueError(f"{sender!r} is no sender: {wrong}") from None
    if envelope.needs_smtputf8 or not sender.isprintable():
        raise ValueError(f"{sender!r} is no sender: what stands before the @ must be ASCII")
    if name.isascii():
        return sender.replace(address, str(envelope)), str(envelope)
    return f"{Header(name, 'utf-8').encode()} <{envelope}>", str(envelope)


def recipient_of(mail: Mail) -> Mailable:
    """Where the mail goes. Raises MailRefused, without the address, which is personal data."""
    try:
        return mailable(mail.to)
    except Unmailable as wrong:
        raise MailRefused(f"the recipient: {wrong}") from None


def compose(mail: Mail, sender: str) -> bytes:
    """The mail's bytes with CRLF line ends; `sender` is a header's value.

    Raises:
        MailRefused: where the address can't stand in a mail's header.
    """
    recipient = str(recipient_of(mail))
    if not MESSAGE_ID.fullmatch(mail.message_id):
        raise ValueError(f"not a Message-ID (RFC 5322): {mail.message_id!r}")
    boundary = blake2b(mail.message_id.encode(), digest_size=12).hexdigest().encode()
    headers = (sender, recipient, subject_line(mail.subject), formatdate(), mail.message_id)
    return SKELETON % (
        *(header.encode() for header in headers),
        boundary,
        boundary,
        quoted_printable(mail.text),
        boundary,
        quoted_printable(mail.html),
        boundary,
    )


def subject_line(subject: str) -> str:
    """The subject on one line, as encoded words (RFC 2047) where it is not ASCII."""
    line = " ".join(subject.split())[:SUBJECT_LENGTH_MAX]
    return line if line.isascii() and line.isprintable() else Header(line, "utf-8").encode(linesep="\r\n")


def quoted_printable(text: str) -> bytes:
    """The text in lines of at most 76 ASCII characters (RFC 2045), each ended by CRLF, whatever ended them before."""
    return b"\r\n".join(map(encoded_line, text.splitlines()))


@lru_cache(maxsize=256)
def encoded_line(line: str) -> bytes:
    """One line, which may become several; most lines of a letter are its form's, and so the same in the next one."""
    return b2a_qp(line.encode(), istext=True).replace(b"\n", b"\r\n")
