"""One message as the archive keeps it: its position, its time, and its bytes as they were stored."""

from datetime import UTC, datetime
from typing import NamedTuple

from jetmesh.jetstream.delivery import Position
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT, Headers, Nats, decode_headers
from jetmesh.jetstream.subject import Subject
from jetmesh.telemetry.otlp import parse_traceparent

ADDED = f"{Nats.STREAM}: ".encode()
"""The first of the lines that the answer to a direct get appends to the headers of a message."""
BARE = b"NATS/1.0\r\n"


class Row(NamedTuple):
    """One message: `headers` is its header block on the wire, empty if it had none; `time_ns` is the broker's time."""

    key: str
    stream: str
    sequence: int
    time_ns: int
    subject: str
    headers: bytes
    data: bytes

    @property
    def position(self) -> Position:
        """Its stream and sequence."""
        return self.stream, self.sequence

    @property
    def type(self) -> str:
        """The type of event: the first two tokens of the subject."""
        return Subject.parse(self.subject).type

    @property
    def is_occurrence(self) -> bool:
        """Whether it is one of many about its key, and in no story."""
        return bool(Subject.parse(self.subject).id)

    @property
    def day(self) -> str:
        """The day on which it was stored (UTC)."""
        return day_of(self.time_ns)

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to, 32 hexadecimal digits; empty if there is none."""
        given = {name.lower(): value for name, value in self.header_fields().items()}
        trace = parse_traceparent(given.get(TRACEPARENT, ""))
        return f"{trace.trace_id:032x}" if trace else ""

    def header_fields(self) -> Headers:
        """The headers by their names."""
        return decode_headers(self.headers) if self.headers else {}

    def stored(self) -> Stored:
        """The message as a direct get returned it."""
        seconds, nanoseconds = divmod(self.time_ns, 1_000_000_000)
        at = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
        return Stored(self.subject, self.sequence, at, self.header_fields(), self.data)


def day_of(time_ns: int) -> str:
    """The day of a time in nanoseconds since 1970 (UTC), as `2026-11-27`."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).date().isoformat()


def as_stored(block: bytes) -> bytes:
    """The header block of a direct get without the lines that the server appended (ADR-31): as in the stream."""
    head = block.rpartition(ADDED)[0]
    return head + b"\r\n" if head != BARE else b""
