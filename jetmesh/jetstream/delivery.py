"""A message as the broker delivered it, and ids derived from its position in the stream."""

import uuid
from hashlib import sha1

from jetmesh.jetstream.headers import Headers, decode_headers

Position = tuple[str, int]
"""Where a message is: its stream and its sequence."""
_NAMESPACE = uuid.UUID("5b0f7a6e-2f0c-5d1f-9a53-0d3c6a2a1f57").bytes


class RawDelivery:
    """One message as the broker delivered it, not yet decoded.

    `headers` may be the undecoded header block: it is decoded on first use, which most deliveries never need.
    `header_block` is empty once it is decoded.
    `type` and `key` are from the subject: its first two tokens, and its third (empty if the message is from outside).
    `occurrence` is the fourth, which tells one occurrence from another.
    `shared` says that it came from a consumer for reactions with different dependencies, and must not wait in its slot
    for one of them. `replay` is the sequence of the dead letter that it was; 0: it was none. `unknown_since` is the
    time since which no version of the service knew its type; 0: it is known.
    """

    __slots__ = (
        "_headers",
        "data",
        "delivered",
        "header_block",
        "held_since",
        "key",
        "occurrence",
        "progress_at",
        "replay",
        "reply",
        "sequence",
        "shared",
        "size",
        "stream",
        "subject",
        "timestamp",
        "type",
        "unknown_since",
    )

    def __init__(  # noqa: PLR0913  (a message has so many attributes)
        self,
        subject: str,
        headers: Headers | bytes,
        data: bytes,
        reply: str,
        stream: str,
        sequence: int,
        delivered: int,
        timestamp: float,
        *,
        shared: bool = False,
        held_since: float = 0.0,
        replay: int = 0,
        unknown_since: float = 0.0,
    ) -> None:
        self.subject, self.data, self.reply = subject, data, reply
        self._headers: Headers | None = None
        self.header_block = b""
        if isinstance(headers, bytes):
            self.header_block = headers
        else:
            self._headers = headers
        self.stream, self.sequence, self.delivered, self.timestamp = stream, sequence, delivered, timestamp
        self.size = len(headers) + len(data)
        self.shared, self.held_since, self.progress_at = shared, held_since, 0.0
        self.replay, self.unknown_since = replay, unknown_since
        entity, _, rest = subject.partition(".")
        event, _, self.key = rest.partition(".")
        self.occurrence = ""
        if "." in self.key:
            self.key, _, self.occurrence = self.key.partition(".")
        self.type = f"{entity}.{event}"

    @property
    def position_id(self) -> str:
        """The id derived from the message's position."""
        return id_of_place(self.stream, self.timestamp, self.sequence)

    @property
    def headers(self) -> Headers:
        """The headers, decoded."""
        if self._headers is None:
            self._headers = decode_headers(self.header_block) if self.header_block else {}
            self.header_block = b""
        return self._headers


def ack_facts(reply: str) -> list[str]:
    """The tokens of a delivery's reply subject: stream, durable, number of deliveries, sequence in the stream, sequence
    of the durable, time in nanoseconds, and number pending. Before them is `$JS.ACK.`, and in `js_ack_fc_v2` a domain
    and a hash of the account."""
    tokens = reply.split(".")
    return tokens[4:] if len(tokens) > 9 else tokens[2:]


def derived_id(*parts: str) -> str:
    """The same id for the same parts, for ever (UUID version 5): a retry records the same event."""
    digest = sha1(_NAMESPACE + "/".join(parts).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def id_of_place(stream: str, timestamp: float, sequence: int) -> str:
    """The id for a message that has none, and the key for one from outside that names none, derived from its position.
    `timestamp` is the time at which it was stored, in Unix seconds."""
    return derived_id(stream, str(timestamp), str(sequence))
