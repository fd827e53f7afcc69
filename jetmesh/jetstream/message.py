"""What is to be recorded: a message, and the guard under which the broker stores it."""

from typing import NamedTuple

from jetmesh.failure import BrokerUnavailable, TooLarge
from jetmesh.jetstream.headers import Headers, Nats, header_lines, lines_read
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX

_GUARD_LINES = f"{Nats.EXPECTED_LAST}: %d\r\n{Nats.EXPECTED_LAST_SUBJECT}: %s\r\n"


class Refused(Exception):
    """The guard found another sequence than was read: somebody recorded meanwhile. Read the story and decide again.
    `last_sequence` is what it found, where the server told."""

    def __init__(self, reason: str, last_sequence: int | None = None) -> None:
        super().__init__(reason)
        self.last_sequence = last_sequence


class Unknown(BrokerUnavailable):
    """No answer: the event may be recorded or not. Read the story and decide again."""


class Guard(NamedTuple):
    """What must be the last sequence on `subject` (a wildcard) for the message to be stored; 0: nothing there."""

    subject: str
    sequence: int

    @property
    def lines(self) -> str:
        """The header lines that carry it."""
        return _GUARD_LINES % (self.sequence, self.subject)


class Message:
    """What is to be recorded. `headers` may be given as the lines of a block that is written already."""

    __slots__ = ("data", "guard", "lines", "subject")

    def __init__(self, subject: str, data: bytes, headers: Headers | str, guard: Guard | None = None) -> None:
        self.subject, self.data, self.guard = subject, data, guard
        self.lines = headers if isinstance(headers, str) else header_lines(headers)

    @property
    def headers(self) -> Headers:
        """Its headers as a mapping, without the guard."""
        return lines_read(self.lines)

    def encoded(self, more: str = "", *, limited: bool = True) -> bytes:
        """The header block, with the guard and `more` header lines; `limited` to what leaves room for a dead letter's
        evidence.

        Raises:
            TooLarge: the message is larger than the mesh accepts.
        """
        guard = self.guard.lines if self.guard else ""
        block = f"NATS/1.0\r\n{self.lines}{guard}{more}\r\n".encode()
        size = len(block) + len(self.data)
        if limited and size > MESSAGE_BYTES_MAX:
            raise TooLarge(f"{self.subject}: {size} bytes are more than the {MESSAGE_BYTES_MAX} of a message")
        return block
