"""What the server says instead of a message: a status, in the first line of a header block."""

from enum import Enum, auto
from typing import NamedTuple, Self

STATUS_LINE = b"NATS/1.0 "
"""A message's header block has nothing behind the version."""


class StatusKind(Enum):
    """What a status means to the client that asked."""

    IDLE = auto()
    """A heartbeat: the request stays open."""
    END = auto()
    """All that was asked for has come."""
    NOTHING = auto()
    EXPIRED = auto()
    BATCH_COMPLETED = auto()
    MESSAGE_TOO_LARGE = auto()
    """The next message alone is more than was asked for."""
    CONSUMER_DELETED = auto()
    NO_RESPONDERS = auto()
    """The subject of the request has no responder."""
    OTHER = auto()


_BY_CODE = {
    100: StatusKind.IDLE,
    204: StatusKind.END,
    404: StatusKind.NOTHING,
    408: StatusKind.EXPIRED,
    503: StatusKind.NO_RESPONDERS,
}
CONFLICT = 409
_OF_CONFLICT = {
    "Batch Completed": StatusKind.BATCH_COMPLETED,
    "Message Size Exceeds MaxBytes": StatusKind.MESSAGE_TOO_LARGE,
    "Consumer Deleted": StatusKind.CONSUMER_DELETED,
}
"""The server has one code for all of these: its words are the only difference."""


class Status(NamedTuple):
    """A code, as in HTTP, and the server's words."""

    code: int
    description: str

    @classmethod
    def of(cls, headers: bytes) -> Self | None:
        """The status that a header block is; None for a message's."""
        if not headers.startswith(STATUS_LINE):
            return None
        code, _, words = headers[len(STATUS_LINE) :].partition(b"\r\n")[0].decode("utf-8", "replace").partition(" ")
        return cls(int(code) if code.isdecimal() else 0, words)

    @property
    def kind(self) -> StatusKind:
        """What it means."""
        if self.code == CONFLICT:
            return _OF_CONFLICT.get(self.description, StatusKind.OTHER)
        return _BY_CODE.get(self.code, StatusKind.OTHER)

    def __str__(self) -> str:
        return f"{self.code} {self.description}".strip()
