"""A message as the broker delivered it, and ids derived from its place in the stream."""

import uuid
from hashlib import sha1

from jetmesh.jetstream.headers import Headers, decode_headers

_NAMESPACE = uuid.UUID("5b0f7a6e-2f0c-5d1f-9a53-0d3c6a2a1f57").bytes


class Delivery:
    """One message as the broker delivered it, not yet decoded.

    `headers` may be the header block as it came: it is decoded when somebody asks, and most deliveries nobody asks.
    `header_block` is empty once it is decoded.
    `type` and `key` are what the subject says: its first two tokens, and its third (empty where the message came from
    outside). `shared` tells whether it came on a lane that serves reactions of different needs, and must not wait in
    its slot for one. `replay` is the sequence of the dead letter that it was; 0: of none.
    `unknown_since` is since when no version of the service that had it knew it; 0: it is known.
    """

    __slots__ = (
        "_headers",
        "data",
        "delivered",
        "header_block",
        "held_since",
        "key",
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

    def __init__(  # noqa: PLR0913  (so much is told about a message)
        self,
        subject: str,
        headers: Headers | bytes,
        data: bytes,
        reply: str,
        stream: str,
        sequence: int,
        delivered: int,
        timestamp: float,
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
        self.held_since = self.progress_at = self.unknown_since = 0.0
        self.shared = False
        self.replay = 0
        entity, _, rest = subject.partition(".")
        event, _, self.key = rest.partition(".")
        self.type = f"{entity}.{event}"

    @property
    def position_id(self) -> str:
        """The id derived from the message's place."""
        return id_of_place(self.stream, self.timestamp, self.sequence)

    @property
    def headers(self) -> Headers:
        """The headers, decoded."""
        if self._headers is None:
            self._headers = decode_headers(self.header_block) if self.header_block else {}
            self.header_block = b""
        return self._headers


def ack_facts(reply: str) -> list[str]:
    """What the reply subject of a delivery says: stream, durable, how often it was delivered, sequence in the stream,
    sequence of the durable, time in nanoseconds, and how many are pending. `$JS.ACK.` stands before them, and in
    `js_ack_fc_v2` a domain and a hash of the account."""
    tokens = reply.split(".")
    return tokens[4:] if len(tokens) > 9 else tokens[2:]


def derived_id(*parts: str) -> str:
    """The same id for the same parts, for ever (UUID version 5): a retry records the same event."""
    digest = sha1(_NAMESPACE + "/".join(parts).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def id_of_place(stream: str, timestamp: float, sequence: int) -> str:
    """What stands for the id of a message that has none, and for the key of one from outside that names none: where it
    stands. `timestamp` is when it was stored, Unix time in seconds."""
    return derived_id(stream, str(timestamp), str(sequence))
