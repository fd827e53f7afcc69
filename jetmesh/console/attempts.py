"""The attempts of a reaction at messages, as the traces know them."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from jetmesh.console.waterfall import SIGNS
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT
from jetmesh.operate import span_source
from jetmesh.operate.span_record import SpanRecord, UnreadableTraces
from jetmesh.operate.timeline import duration
from jetmesh.reaction import Reaction
from jetmesh.telemetry.spans import OUTCOME

NOTE = "No spans are kept here, so attempts and durations are not known. JETMESH_JAEGER_URL names a Jaeger to ask."


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """One attempt at a message; `place` is its stream and sequence."""

    place: tuple[str, int]
    number: int
    outcome: str
    reason: str
    began: float
    nanoseconds: int
    trace: str

    @property
    def took(self) -> str:
        """Its duration in words."""
        return duration(self.nanoseconds)

    @property
    def state(self) -> str:
        """Its outcome as a colour."""
        return SIGNS.get(self.outcome, "bad" if self.reason else "good")


@dataclass(frozen=True, slots=True)
class SeenAttempts:
    """The attempts that the traces have, and why there are none."""

    all: Sequence[SeenAttempt] = ()
    note: str = ""

    def at(self, place: tuple[str, int]) -> list[SeenAttempt]:
        """Those at one message, in their order."""
        return sorted((each for each in self.all if each.place == place), key=lambda each: each.began)

    def slowest(self, count: int) -> list[SeenAttempt]:
        """The longest."""
        return sorted(self.all, key=lambda each: -each.nanoseconds)[:count]

    def failing(self, count: int) -> list[SeenAttempt]:
        """The newest that failed."""
        return sorted((each for each in self.all if each.reason), key=lambda each: -each.began)[:count]


def attempts_at(store: Path | None, reaction: Reaction, messages: Iterable[tuple[str, Stored]]) -> SeenAttempts:
    """The attempts at these messages of streams. It blocks: call it in a thread."""
    places = {(stream, each.sequence): each.headers.get(TRACEPARENT, "")[3:35] for stream, each in messages}
    try:
        found = span_source.traces(store)
        if found is None:
            return SeenAttempts(note=NOTE)
        with closing(found):
            spans = [span for trace in sorted(set(places.values()) - {""}) for span in found.spans_of(trace)]
    except UnreadableTraces as unreadable:
        return SeenAttempts(note=str(unreadable))
    mine = (span for span in spans if _is_of(span, reaction))
    return SeenAttempts([_attempt(span) for span in mine if _place(span) in places])


def _is_of(span: SpanRecord, reaction: Reaction) -> bool:
    return (span.service, span.attributes.get("jetmesh.reaction"), span.kind) == (
        reaction.service, reaction.name, "consumer",
    )  # fmt: skip


def _place(span: SpanRecord) -> tuple[str, int]:
    attributes = span.attributes
    sequence = attributes.get("messaging.nats.message.stream_sequence", 0)
    return str(attributes.get("messaging.nats.stream.name", "")), int(str(sequence))


def _attempt(span: SpanRecord) -> SeenAttempt:
    return SeenAttempt(
        place=_place(span),
        number=int(str(span.attributes.get("messaging.nats.message.delivery_count", 1))),
        outcome=str(span.attributes.get(OUTCOME, "")),
        reason=span.status_message if span.status == "error" else "",
        began=span.start_unix_nano / 1e9,
        nanoseconds=span.end_unix_nano - span.start_unix_nano,
        trace=span.trace_id,
    )
