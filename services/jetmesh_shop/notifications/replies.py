"""What an SMTP server's reply means: for this mail, for its recipient, or for everything that the server takes."""

import re
from typing import Literal, NamedTuple, Self

from jetmesh_shop.notifications.mailer import MailDeferred, MailRefused, MailUnavailable

Step = Literal["the sender", "the recipient", "the start of the mail", "the mail"]

ENHANCED_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
OF_SERVER = frozenset({421, 454, 500, 502, 503, 521, 530, 534, 535, 538})
"""Codes that speak of the server or the session at whatever step: it closes, it wants to be asked in another way, it
wants a login (RFC 5321, section 4.2.3; RFC 4954, section 6)."""
OF_SYSTEM = re.compile(r"[45]\.3\.[125]")
"""The server's system is full, takes nothing, or is configured wrongly (RFC 3463, section 3.4)."""
OF_RECIPIENT = re.compile(r"4\.[1267]\.\d+")
"""An address, a mailbox, the contents or a policy such as greylisting: other mails may be taken."""
MAILBOX_BUSY = 450
CLOSED = "the mail server closed the connection"


class Reply(NamedTuple):
    """A server's answer: its code and, where there is one, its enhanced status (RFC 3463)."""

    code: int
    status: str

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The answer whose last line this is. Raises MailUnavailable where it is none of SMTP."""
        if not line[:3].isdigit():
            raise MailUnavailable("no SMTP server answers")
        status = ENHANCED_STATUS.match(line[4:].decode("ascii", "replace"))
        return cls(int(line[:3]), status[0] if status else "")

    def expect(self, kind: int, step: Step) -> None:
        """Go on if the code is of the expected kind: 2, done (a mailbox elsewhere, 251, too); 3, go on.

        Raises:
            MailUnavailable: the server takes nothing now. So does a refused sender: it concerns every mail.
            MailDeferred: the server puts off this mail.
            MailRefused: it will never take this mail.
        """
        if self.code // 100 == kind:
            return
        # The server's own words stay out of the errors: they tend to repeat the address.
        problem = f"{step} was refused with {self.code} {self.status}".rstrip()
        if step == "the sender" or self._is_of_server:
            raise MailUnavailable(problem)
        if self.code >= 500:
            raise MailRefused(problem)
        if step == "the recipient" or self.code == MAILBOX_BUSY or OF_RECIPIENT.fullmatch(self.status):
            raise MailDeferred(problem)
        raise MailUnavailable(problem)

    @property
    def _is_of_server(self) -> bool:
        is_refusal = 400 <= self.code < 600
        return not is_refusal or self.code in OF_SERVER or OF_SYSTEM.fullmatch(self.status) is not None
