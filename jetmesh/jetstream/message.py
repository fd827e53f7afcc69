"""A message to record, and the guard under which the broker stores it."""

from typing import NamedTuple

from jetmesh.failure import BrokerUnavailable, TooLarge
from jetmesh.jetstream.headers import Headers, Nats, header_lines, lines_read
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX

_GUARD_LINES = f"{Nats.EXPECTED_LAST}: %d\r\n{Nats.EXPECTED_LAST_SUBJECT}: %s\r\n"


class Refused(Exception):
    """The guard does not hold: another writer has recorded since the story was read. Read the story and decide again.
    `last_sequence` is the actual one, if the server names it."""

    def __init__(self, reason: str, last_sequence: int | None = None) -> None:
        super().__init__(reason)
        self.last_sequence = last_sequence


class Unknown(BrokerUnavailable):
    """No answer: the event may be recorded or not. Read the story and decide again."""


class Guard(NamedTuple):
    """The message is stored only if `sequence` is the last one on `subject` (a wildcard); 0: if there is none."""

    subject: str
    sequence: int

    @property
    def lines(self) -> str:
        """The header lines that carry it."""
        return _GUARD_LINES % (self.sequence, self.subject)


class Message:
    """A message to record. `headers` may be header lines that are encoded already."""

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
