"""Which addresses a mail can reach: one rule, asked before an order costs money and again when a mail goes out."""

import re
import unicodedata
from typing import NamedTuple

import idna

LOCAL_BYTES_MAX, ADDRESS_BYTES_MAX = 64, 254
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x80-\U0010ffff]+"
LOCAL = re.compile(rf"{ATOM}(\.{ATOM})*")
"""A dot-string (RFC 5321, section 4.1.2), with any character beyond ASCII as well (RFC 6531, section 3.3)."""
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
WITHOUT_MEANING = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""The categories of characters that are invisible or unassigned."""


class Unmailable(ValueError):
    """No mail can reach the address; the text says why, without the address, which is personal data."""


class Mailable(NamedTuple):
    """An address as it goes to a mail server: its domain in ASCII (IDNA 2008)."""

    local: str
    domain: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with the extension SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def mailable(address: str) -> Mailable:
    """The address as a mail server takes it.

    Raises:
        Unmailable: no server would.
    """
    local, at, domain = address.rpartition("@")
    if not at:
        raise Unmailable("the address has no @")
    found = Mailable(_local(local), _domain(domain))
    if len(str(found).encode()) > ADDRESS_BYTES_MAX:
        raise Unmailable(f"the address is longer than {ADDRESS_BYTES_MAX} bytes")
    return found


def _local(written: str) -> str:
    local = unicodedata.normalize("NFC", written)
    if not LOCAL.fullmatch(local):
        raise Unmailable(
            "what stands before the @ must be letters, digits and !#$%&'*+/=?^_`{|}~-, with single dots between them"
        )
    if any(unicodedata.category(character) in WITHOUT_MEANING for character in local):
        raise Unmailable("what stands before the @ has a character that can't be seen")
    if len(local.encode()) > LOCAL_BYTES_MAX:
        raise Unmailable(f"what stands before the @ is longer than {LOCAL_BYTES_MAX} bytes")
    return local


def _domain(written: str) -> str:
    try:
        domain = written.lower() if written.isascii() else idna.encode(written, uts46=True).decode()
    except UnicodeError:
        raise Unmailable("the domain is no internationalized domain name (IDNA 2008)") from None
    labels = domain.split(".")
    if len(labels) < 2 or not all(map(LABEL.fullmatch, labels)) or labels[-1].isdecimal() or len(domain) > 253:
        raise Unmailable("the domain must be a domain name, such as example.com")
    return domain
