"""The attempts of a reaction at messages, as the traces know them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from jetmesh.console.waterfall import SIGNS
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT
from jetmesh.operate import span_source
from jetmesh.operate.dead_letters import DeadLetter
from jetmesh.operate.span_record import SpanRecord, Traces, UnreadableTraces
from jetmesh.operate.timeline import duration
from jetmesh.reaction import Reaction
from jetmesh.telemetry.spans import OUTCOME

NOTE = "No spans are kept here, so attempts and durations are not known. JETMESH_JAEGER_URL names a Jaeger to ask."


TRACES_MAX = 50
"""In so many traces of a key the attempts at a message are looked for."""


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
    whose = f"{reaction.service}.{reaction.name}"

    def look(found: Traces) -> Iterator[SeenAttempt]:
        return (each for each in _of(found, places.values(), whose) if each.place in places)

    return _seen(store, look)


def attempts_of(store: Path | None, letter: DeadLetter, key: str) -> SeenAttempts:
    """The attempts at the message of a dead letter. It blocks: call it in a thread."""
    known = {letter.trace_id, letter.original.get(TRACEPARENT, "")[3:35]}

    def look(found: Traces) -> Iterator[SeenAttempt]:
        mine = [each for each in _of(found, known, letter.reaction) if each.place == letter.position]
        yield from mine
        if key and len(mine) < letter.attempts:  # a message from outside may have a trace for each attempt
            others = list(set(found.trace_ids_of(key)) - known)[:TRACES_MAX]
            yield from (each for each in _of(found, others, letter.reaction) if each.place == letter.position)

    return _seen(store, look)


def last_attempts(spans: Iterable[SpanRecord]) -> dict[tuple[str, tuple[str, int]], SeenAttempt]:
    """The newest attempt of each reaction at each message."""
    ordered = sorted((span for span in spans if _whose(span)), key=lambda span: span.start_unix_nano)
    return {(_whose(span), _place(span)): _attempt(span) for span in ordered}


def _seen(store: Path | None, look: Callable[[Traces], Iterator[SeenAttempt]]) -> SeenAttempts:
    """What is found where the traces are, or why there is nothing."""
    try:
        found = span_source.traces(store)
        if found is None:
            return SeenAttempts(note=NOTE)
        with closing(found):
            return SeenAttempts(list(look(found)))
    except UnreadableTraces as unreadable:
        return SeenAttempts(note=str(unreadable))


def _of(found: Traces, traces: Iterable[str], reaction: str) -> Iterator[SeenAttempt]:
    """The attempts of a reaction in these traces."""
    spans = (span for trace in sorted(set(traces) - {""}) for span in found.spans_of(trace))
    return (_attempt(span) for span in spans if _whose(span) == reaction)


def _whose(span: SpanRecord) -> str:
    return f"{span.service}.{span.attributes.get('jetmesh.reaction')}" if span.kind == "consumer" else ""


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
