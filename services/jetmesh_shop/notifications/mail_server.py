"""Where the mail server is, how to speak to it, and why that failed in words that name the setting."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

TIMEOUT_SECONDS = 30.0
FORM = "a mail server's URL is smtp://[user:password@]host[:port][?starttls=1] or smtps://…"
PORTS = {"smtp": 25, "smtps": 465}
STARTTLS = {"": None, "0": False, "1": True}
OTHER_NAME = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class UnusableCa(ValueError):
    """The file of `JETMESH_SMTP_CA` holds no certificate."""


@dataclass(frozen=True, slots=True)
class Server:
    """One mail server; `starttls` None: where it is offered. `ca` is a file of certificates that sign the server's;
    empty: those that the machine trusts."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    tls: bool
    starttls: bool | None
    ca: str = ""

    @classmethod
    def from_url(cls, url: str, ca: str = "") -> Self:
        """The server of `smtp://user:pass@host:port?starttls=1`, or `smtps://` for TLS from the first byte. With a CA
        of one's own, an `smtp://` server must offer STARTTLS, unless `starttls=0` says otherwise.

        Raises:
            ValueError: where it is no such URL; without the URL, which may carry a password.
        """
        try:
            parts = urlsplit(url)
            port, query = parts.port, parse_qs(parts.query)
        except ValueError:
            raise ValueError(FORM) from None
        chosen = query.pop("starttls", ["1" if ca else ""])[-1]
        if parts.scheme not in PORTS or not parts.hostname or query:
            raise ValueError(FORM)
        if chosen not in STARTTLS:
            raise ValueError(f"starttls is 0 or 1; {FORM}")
        tls = parts.scheme == "smtps"
        return cls(
            host=parts.hostname,
            port=port or PORTS[parts.scheme],
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=tls,
            starttls=False if tls else STARTTLS[chosen],
            ca=ca,
        )

    def prepare(self) -> ssl.SSLContext:
        """What TLS to the server trusts; read anew at each connection, so that a renewed CA counts.

        Raises:
            UnusableCa: its file can't be used.
        """
        try:
            return ssl.create_default_context(cadata=Path(self.ca).read_text("ascii") if self.ca else None)
        except (ssl.SSLError, ValueError):
            raise UnusableCa(f"{self.ca} has no certificate in PEM: name the file of the CA") from None
        except OSError as unreadable:
            raise UnusableCa(f"{self.ca}: {unreadable.strerror}") from None

    async def connect(self) -> aiosmtplib.SMTP:
        """A session greeted, secured and logged in. Raises aiosmtplib.SMTPException, OSError, UnusableCa."""
        session = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=self.tls,
            start_tls=self.starttls,
            tls_context=await asyncio.to_thread(self.prepare),
            timeout=TIMEOUT_SECONDS,
        )
        await session.connect()
        if session.is_ehlo_or_helo_needed:
            await session.ehlo()
        return session

    def trouble(self, error: BaseException) -> str:
        """Why the server could not be used, and what to do about it; without words of the server's, which may repeat
        an address, and without its password."""
        at = f"the mail server at {self.host}:{self.port}"
        if isinstance(error, UnusableCa):
            return f"{at}: JETMESH_SMTP_CA: {error}"
        match _tls_error(error) or error:
            case ssl.SSLCertVerificationError() as distrust if distrust.verify_code in OTHER_NAME:
                name = f"its certificate is for another name ({distrust.verify_message})"
                return f"{at}: {name}: JETMESH_SMTP_URL must name one of its"
            case ssl.SSLCertVerificationError() as distrust:
                untrusted = f"its certificate is not trusted ({distrust.verify_message})"
                return f"{at}: {untrusted}: JETMESH_SMTP_CA must name the file of the CA that signed it"
            case ssl.SSLError(reason=reason):
                return f"{at}: no TLS with it ({reason or 'the handshake failed'}): {self._instead}"
            case aiosmtplib.SMTPServerDisconnected():
                return f"{at} closed the connection"
            case aiosmtplib.SMTPAuthenticationError(code=code):
                return f"{at} does not take the user and password of JETMESH_SMTP_URL ({code})"
            case aiosmtplib.SMTPResponseException(code=code):
                return f"{at} answers {code}"
            case aiosmtplib.SMTPException(message=message) if "STARTTLS" in message:
                return f"{at} does not offer STARTTLS, which is asked for: write ?starttls=0 behind JETMESH_SMTP_URL"
        return f"{at}: {type(error).__name__}"

    @property
    def _instead(self) -> str:
        """What may be meant, where the server does not speak TLS as it is asked to."""
        if self.tls:
            return "write smtp://…?starttls=1 in JETMESH_SMTP_URL where TLS begins with STARTTLS"
        return "write smtps://… in JETMESH_SMTP_URL where TLS begins with the first byte"


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS library's own error, where it is behind this one."""
    if error is None or isinstance(error, ssl.SSLError):
        return error
    return _tls_error(error.__cause__ or error.__context__)
