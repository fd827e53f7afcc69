"""What is to be recorded: a message, and the guard under which the broker stores it."""

from dataclasses import dataclass

from jetmesh.failure import Permanent, Unavailable
from jetmesh.wire import MESSAGE_BYTES_MAX, Headers, encode_headers


class Refused(Exception):
    """The guard found another sequence than was read: somebody recorded meanwhile. Read the story and decide again."""


class Unknown(Unavailable):
    """No answer: the event may be recorded or not. Read the story and decide again."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What must be the last sequence on `subject` (a wildcard) for the message to be stored; 0: nothing there."""

    subject: str
    sequence: int

    def headers(self) -> Headers:
        """The headers that carry it."""
        return {
            "Nats-Expected-Last-Subject-Sequence": str(self.sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": self.subject,
        }


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be recorded."""

    subject: str
    data: bytes
    headers: Headers
    guard: Guard | None = None

    def encoded(self, extra: Headers | None = None, *, limited: bool = True) -> bytes:
        """The header block, guard and `extra` included; `limited` to what leaves room for a dead letter's evidence.

        Raises:
            Permanent: the message is larger than the mesh accepts.
        """
        headers = {**self.headers, **self.guard.headers()} if self.guard else self.headers
        block = encode_headers({**headers, **extra} if extra else headers)
        size = len(block) + len(self.data)
        if limited and size > MESSAGE_BYTES_MAX:
            raise Permanent(f"{self.subject}: {size} bytes are more than the {MESSAGE_BYTES_MAX} of a message")
        return block
