"""What an SMTP server's refusal means: for this mail, for its recipient, or for everything that the server takes."""

import re
from typing import Literal

from jetmesh_shop.notifications.mailer import MailDeferred, MailRefused, MailUnavailable

Step = Literal["the sender", "the recipient", "the mail"]

CLOSING = 421
MAILBOX_BUSY = 450
OF_SERVER = frozenset({CLOSING, 454, 500, 502, 503, 521, 530, 534, 535, 538})
"""Codes that speak of the server or the session at whatever step: it closes, it wants to be asked in another way, it
wants a login (RFC 5321, section 4.2.3; RFC 4954, section 6)."""
OF_SYSTEM = re.compile(r"[45]\.3\.[125]")
"""The server's system is full, takes nothing, or is configured wrongly (RFC 3463, section 3.4)."""
OF_RECIPIENT = re.compile(r"4\.[1267]\.\d+")
"""An address, a mailbox, the contents or a policy such as greylisting: other mails may be taken."""
ENHANCED_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


def refusal(step: Step, code: int, words: str) -> MailUnavailable | MailDeferred | MailRefused:
    """What to raise where the server answers with this code. A refused sender concerns every mail."""
    found = ENHANCED_STATUS.match(words)
    status = found[0] if found else ""
    # The server's own words stay out of the error: they tend to repeat the address.
    problem = f"{step} was refused with {code} {status}".rstrip()
    if step == "the sender" or _is_of_server(code, status):
        return MailUnavailable(problem)
    if code >= 500:
        return MailRefused(problem)
    if step == "the recipient" or code == MAILBOX_BUSY or OF_RECIPIENT.fullmatch(status):
        return MailDeferred(problem)
    return MailUnavailable(problem)


def _is_of_server(code: int, status: str) -> bool:
    is_refusal = 400 <= code < 600
    return not is_refusal or code in OF_SERVER or OF_SYSTEM.fullmatch(status) is not None
