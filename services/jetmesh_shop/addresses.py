"""Which addresses a mail can reach: one rule, asked before an order costs money and again when a mail goes out."""

import re
from functools import lru_cache
from typing import NamedTuple

LOCAL_BYTES_MAX = 64
ADDRESS_BYTES_MAX = 254
PLAIN = re.compile(r"([a-z0-9]+(?:[._+-][a-z0-9]+)*)@((?:[a-z0-9]{1,63}\.)+[a-z]{2,63})")
"""What most addresses look like. email_validator says the same of it, and takes 0.03 ms."""


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
    found = PLAIN.fullmatch(address)
    if found and len(found[1]) <= LOCAL_BYTES_MAX and len(address) <= ADDRESS_BYTES_MAX:
        return Mailable(found[1], found[2])
    return checked(address)


@lru_cache(maxsize=1024)
def checked(address: str) -> Mailable:
    """The address by email_validator's rules, whatever it looks like. Raises Unmailable."""
    # Loaded for the first address: every process of the mesh knows the services that ask, and few of them do.
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()  # which domains exist is known to the mail server
    try:
        found = email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError as wrong:
        raise Unmailable(str(wrong).partition(" (")[0]) from None  # what is in brackets may quote the address
    if len(found.local_part.encode()) > LOCAL_BYTES_MAX:
        raise Unmailable(f"What stands before the @ is longer than {LOCAL_BYTES_MAX} bytes.")
    return Mailable(found.local_part, found.ascii_domain)
