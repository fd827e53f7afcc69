"""The limits of a message: those of the server's INFO, and the fixed ones of every server."""

from typing import NamedTuple

from jetmesh.failure import TooLarge

PAYLOAD_BYTES_MAX = 1 << 20
"""The largest message of a mesh's brokers and streams (`max_payload`): headers and body together."""
MESSAGE_BYTES_MAX = PAYLOAD_BYTES_MAX - (64 << 10)
"""What a service may record and what is taken from outside: it leaves room for what a dead letter adds as evidence."""
HEADER_BYTES_MAX = (1 << 16) - 1
"""The most bytes of headers that JetStream stores (10097)."""
SUBJECT_BYTES_MAX = 4_000
"""Subject and reply together: the server ends the connection over a longer line than 4,096 bytes."""
SHORT_SUBJECT = 900
"""A number of characters that always fits."""


class ServerLimits(NamedTuple):
    """What one server takes."""

    payload_bytes_max: int
    """Headers and body together (`max_payload`)."""

    def require(self, subject: str, headers_size: int, data_size: int, reply: str = "") -> None:
        """Check that a message of this size fits.

        Raises:
            TooLarge: naming the size and the limit.
        """
        if headers_size + data_size > self.payload_bytes_max:
            size = f"{headers_size + data_size} bytes with headers"
            raise TooLarge(
                f"{subject[:200]}: {size} are more than the broker's max_payload of {self.payload_bytes_max}"
            )
        if headers_size > HEADER_BYTES_MAX:
            size = f"{headers_size} bytes of headers"
            raise TooLarge(f"{subject[:200]}: {size} are more than the {HEADER_BYTES_MAX} that JetStream stores")
        if (
            len(subject) + len(reply) > SHORT_SUBJECT
            and len(subject.encode()) + len(reply.encode()) > SUBJECT_BYTES_MAX
        ):
            raise TooLarge(f"{subject[:200]}…: the subject is longer than the {SUBJECT_BYTES_MAX} bytes of a line")
