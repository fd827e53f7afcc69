"""When the certificates of the connection to the broker expire, read from X.509's DER (RFC 5280, section 4.1): the
standard library has no parser for it."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from jetmesh.settings import Settings

VERSION = 0xA0
TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime (two digits of the year) and GeneralizedTime."""


def ends(settings: Settings, peer: bytes) -> dict[str, float]:
    """When each certificate expires, in seconds since 1970: `client` and `ca` from the files in the settings, `broker`
    from the certificate it sent, as DER. Unreadable ones are left out."""
    files = {"client": settings.nats_tls_certificate, "ca": settings.nats_tls_ca}
    shown = {name: _der(path) for name, path in files.items() if path} | {"broker": peer}
    return {name: end for name, der in shown.items() if der and (end := not_after(der))}


def not_after(der: bytes) -> float:
    """The end of a certificate's validity, in seconds since 1970; 0.0 if this is not a certificate."""
    try:
        (_, certificate), *_ = _members(der)
        (_, signed), *_ = _members(certificate)
        fields = [member for member in _members(signed) if member[0] != VERSION]
        # Serial number, signature algorithm, issuer, validity.
        _, (tag, text) = _members(fields[3][1])
        return datetime.strptime(text.decode("ascii"), TIMES[tag]).replace(tzinfo=UTC).timestamp()
    except (ValueError, KeyError, IndexError):
        return 0.0


def _members(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Each value in DER as its tag and its content."""
    at = 0
    while at < len(content):
        tag, length = content[at], content[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(content[at : at + size], "big"), at + size
        yield tag, content[at : at + length]
        at += length


def _der(path: str) -> bytes:
    """The first certificate of a PEM file."""
    try:
        text = Path(path).read_text("ascii", "replace")
        begin = text.index("-----BEGIN CERTIFICATE-----")
        return ssl.PEM_cert_to_DER_cert(text[begin : text.index(end := "-----END CERTIFICATE-----", begin) + len(end)])
    except (OSError, ValueError):
        return b""
