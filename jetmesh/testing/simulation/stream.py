"""A model of one stream: guarded publishes, atomic batches, last messages, schedules, with the server's answers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.jetstream.errors import ErrorCode
from jetmesh.jetstream.headers import Headers, Nats, decode_headers
from jetmesh.jetstream.subject import covers

ApiAnswer = dict[str, Any]

DEDUPE_NANOSECONDS = 120 * 10**9
"""Fields of a stream's configuration that the model ignores."""


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """One message as it reaches a stream."""

    subject: str
    raw_headers: bytes
    headers: Headers
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as a stream keeps it; `time` in seconds of the wall clock."""

    subject: str
    sequence: int
    raw_headers: bytes
    data: bytes
    time: float

    @property
    def headers(self) -> Headers:
        """Its headers, decoded."""
        return decode_headers(self.raw_headers)


def ttl_seconds(text: str) -> float:
    """The seconds of a TTL: whole seconds, or a Go duration with one unit."""
    units = {"h": 3_600.0, "m": 60.0, "s": 1.0}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


def refusal(code: int, number: int, words: str) -> ApiAnswer:
    """An error as the server words it."""
    return {"error": {"code": code, "err_code": number, "description": words}}


class SimulatedStream:
    """Messages in their order, none of them ever changed."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name, self.config = name, dict(config)
        self.messages: dict[int, StoredMessage] = {}
        self.last_sequence, self.created = 0, 0.0
        self.full = self.leaderless = False
        self.horizon: int | None = None
        """The last sequence of a replica that lags; None: none lags."""
        self._of_subject: dict[str, list[int]] = {}
        self._of_key: dict[tuple[str, str], list[int]] = {}
        self._batches: dict[str, list[PublishedMessage]] = {}
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def is_work_queue(self) -> bool:
        """Whether an acknowledgement removes the message."""
        return self.config.get("retention") == "workqueue"

    def takes(self, subject: str) -> bool:
        """Whether the stream takes a subject."""
        return any(covers(pattern, subject) for pattern in self.config["subjects"])

    def publish(self, message: PublishedMessage, now: float) -> ApiAnswer | None:
        """The acknowledgement or refusal; None if the server answers with an empty message."""
        if batch := message.headers.get(Nats.BATCH_ID):
            return self._batch(batch, message, now)
        refused = self._refuse(message, now)
        return refused or self._acknowledge(self.keep(message, now))

    def keep(self, message: PublishedMessage, now: float) -> StoredMessage:
        """Append a message without checks."""
        self.last_sequence += 1
        kept = StoredMessage(message.subject, self.last_sequence, message.raw_headers, message.data, now)
        self.restore(kept)
        if known := message.headers.get(Nats.MSG_ID):
            self._seen[known] = (kept.sequence, now)
        return kept

    def restore(self, kept: StoredMessage) -> None:
        """Store a message at its sequence, for the first time or again."""
        self.messages[kept.sequence] = kept
        for index in self._indexes(kept.subject):
            index.append(kept.sequence)
            index.sort()

    def remove(self, sequence: int) -> StoredMessage | None:
        """Delete the message of a sequence."""
        kept = self.messages.pop(sequence, None)
        for index in self._indexes(kept.subject) if kept else ():
            index.remove(sequence)
        return kept

    def forget(self, kept: StoredMessage) -> None:
        """Delete this message if it is still there."""
        if self.messages.get(kept.sequence) is kept:
            self.remove(kept.sequence)

    def forget_batches(self) -> None:
        """Drop the batches that were not committed."""
        self._batches.clear()

    def last(self, pattern: str) -> int:
        """The last sequence on the subjects of a pattern; 0: none."""
        found = self._found(pattern)
        return found[-1] if found else 0

    @property
    def readable(self) -> int:
        """The last sequence that a direct get may see."""
        return self.last_sequence if self.horizon is None else min(self.horizon, self.last_sequence)

    def read(self, wanted: Mapping[str, Any], up_to: int) -> tuple[list[StoredMessage], int]:
        """What a direct get asks for, and how many messages follow."""
        if "multi_last" in wanted:
            return self.last_of_each(wanted["multi_last"], up_to), 0
        there = [s for s in sorted(self._found(wanted["next_by_subj"])) if wanted["seq"] <= s <= up_to]
        found, room = [], wanted.get("max_bytes", math.inf)
        for kept in (self.messages[sequence] for sequence in there[: wanted["batch"]]):
            found.append(kept)
            room -= len(kept.data)
            if room <= 0:
                break
        return found, len(there) - len(found)

    def last_of_each(self, patterns: Iterable[str], up_to: int) -> list[StoredMessage]:
        """The newest message of every subject that a pattern matches, as of sequence `up_to`; oldest first."""
        newest: dict[str, StoredMessage] = {}
        for sequence in sorted({s for pattern in patterns for s in self._found(pattern) if s <= up_to}):
            kept = self.messages[sequence]
            newest[kept.subject] = kept
        return sorted(newest.values(), key=lambda kept: kept.sequence)

    def _indexes(self, subject: str) -> list[list[int]]:
        indexes = [self._of_subject.setdefault(subject, [])]
        tokens = subject.split(".")
        if len(tokens) == 3:
            indexes.append(self._of_key.setdefault((tokens[0], tokens[2]), []))
        return indexes

    def _found(self, pattern: str) -> list[int]:
        if "*" not in pattern and ">" not in pattern:
            return self._of_subject.get(pattern, [])
        entity, middle, key = (*pattern.split("."), "", "")[:3]
        if middle == "*" and pattern.count(".") == 2 and "*" not in entity + key and ">" not in key:
            return self._of_key.get((entity, key), [])
        return [kept.sequence for kept in self.messages.values() if covers(pattern, kept.subject)]

    def _refuse(self, message: PublishedMessage, now: float) -> ApiAnswer | None:
        """Why a message is not stored; on one replica the guard comes before the id."""
        if Nats.EXPECTED_LAST in message.headers:
            found = self.last(message.headers.get(Nats.EXPECTED_LAST_SUBJECT, message.subject))
            if found != int(message.headers[Nats.EXPECTED_LAST]):
                self.horizon = None
                return refusal(400, ErrorCode.WRONG_LAST_SEQUENCE, f"wrong last sequence: {found}")
        if known := self._known(message, now):
            return {"stream": self.name, "seq": known, "duplicate": True}
        return refusal(503, ErrorCode.STORE_FAILED, "maximum bytes exceeded") if self.full else None

    def _known(self, message: PublishedMessage, now: float) -> int:
        """The sequence of the message with the same id within the duplicate window; else 0."""
        sequence, at = self._seen.get(message.headers.get(Nats.MSG_ID, ""), (0, 0.0))
        window = self.config.get("duplicate_window", DEDUPE_NANOSECONDS) / 1e9
        return sequence if now - at < window else 0

    def _acknowledge(self, kept: StoredMessage) -> ApiAnswer:
        return {"stream": self.name, "seq": kept.sequence}

    def _batch(self, batch: str, message: PublishedMessage, now: float) -> ApiAnswer | None:
        """Collect a batch; with its last message all are stored, or none. Guards see the stream before the batch."""
        number = int(message.headers[Nats.BATCH_SEQUENCE])
        if not self.config.get("allow_atomic"):
            return refusal(400, ErrorCode.ATOMIC_PUBLISH_DISABLED, "atomic publish is disabled")
        collected = self._batches.setdefault(batch, [])
        complete = len(collected) == number - 1
        collected.append(message)
        if Nats.BATCH_COMMIT not in message.headers:
            return None
        del self._batches[batch]
        if not complete:
            return refusal(400, ErrorCode.ATOMIC_PUBLISH_INCOMPLETE_BATCH, "atomic publish batch is incomplete")
        if refused := self._refuse_batch(collected, now):
            return refused
        for member in collected:
            self.keep(member, now)
        return {"stream": self.name, "seq": self.last_sequence, "batch": batch, "count": len(collected)}

    def _refuse_batch(self, collected: Sequence[PublishedMessage], now: float) -> ApiAnswer | None:
        """Why a batch is not stored; among others, a later message must not guard a subject that the batch writes."""
        written, ids = set[str](), set[str]()
        for message in collected:
            named = message.headers.get(Nats.MSG_ID, "")
            if self._known(message, now) or named in ids:
                return refusal(
                    400,
                    ErrorCode.ATOMIC_PUBLISH_DUPLICATE_MESSAGE,
                    "atomic publish batch contains duplicate message id",
                )
            if (
                Nats.EXPECTED_LAST in message.headers
                and message.headers.get(Nats.EXPECTED_LAST_SUBJECT, message.subject) in written
            ):
                return refusal(400, ErrorCode.WRONG_LAST_SEQUENCE_CONSTANT, "wrong last sequence")
            if refused := self._refuse(message, now):
                return refused
            written.add(message.subject)
            ids |= {named} - {""}
        return None
