"""Traces, metrics and logs of a process, by OpenTelemetry's conventions for messaging.

https://github.com/open-telemetry/semantic-conventions/blob/main/docs/messaging/messaging-spans.md

A process span is a child of the message's context, and links to it as well: the story of one key is one trace, and the
service graph shows which service reacts to which. Attempts at one delivery are siblings. A context from outside is a
link and not the parent, unless `JETMESH_TRUST_TRACES` is set. A message from outside about a key that has a story joins
the story's trace; a deadline joins it when it records something. An event that a batch records about another key than
that of its cause belongs to the trace of that key's story, and links to the attempt.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.trace import Link, NoOpTracer, SpanContext, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from jetmesh.cloudevents import Envelope, instant_of
from jetmesh.common.version import jetmesh_version
from jetmesh.event import Event, EventType
from jetmesh.failure import let_go
from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, Headers, header_lines
from jetmesh.outcome import Outcome
from jetmesh.reaction import Reaction
from jetmesh.telemetry.instruments import Counter, CounterSeries, Histograms, Series
from jetmesh.telemetry.otlp import Span as HotSpan
from jetmesh.telemetry.otlp import Tracer as HotTracer
from jetmesh.telemetry.otlp.encoding import Description
from jetmesh.telemetry.otlp.traceparent import format_traceparent, parse_traceparent
from jetmesh.telemetry.reaction_stats import ReactionStats

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
BUCKETS_STORY_SECONDS = (*BUCKETS_SECONDS, 30, 60, 300, 900, 3600)
SCOPE = "jetmesh"
CONVERSATION = "messaging.message.conversation_id"
OUTCOME = "jetmesh.outcome"
OTHER = "_OTHER"
"""Replaces values of unbounded number, by OpenTelemetry's convention."""
PUBLISHED = ("messaging.destination.name", "messaging.message.id", CONVERSATION, "cloudevents.event_id")
PROCESSED = (*PUBLISHED, "messaging.nats.stream.name", "cloudevents.event_source")
PROCESSED_NUMBERS = ("messaging.nats.message.stream_sequence", "messaging.nats.message.delivery_count")
"""What each span of either kind has for itself."""
(_SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())
"""The key of the current span in a context."""

_Attributes = dict[str, Any]


class Publishing:
    """The spans and the counter of the events that one service records."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer if isinstance(tracer, HotTracer) else None
        self._others = None if isinstance(tracer, (HotTracer, NoOpTracer)) else tracer
        self._sent = Counter(meter, "messaging.client.sent.messages", "{message}", "Events recorded.")
        self._counts: dict[str, CounterSeries] = {}
        self._described: dict[str, Description] = {}

    def span(
        self,
        parent: SpanContext,
        event: EventType,
        key: str,
        event_id: str,
        correlation_id: str,
        links: Sequence[SpanContext] = (),
    ) -> trace.Span:
        """Begin the span of one event being recorded, inside `parent`; `parent` itself if nothing is traced here."""
        if self._tracer is None and self._others is None:
            return trace.NonRecordingSpan(parent)
        described = self._described.get(event.type) or self._describe(event.type)
        values = f"{event.type}.{key}", event_id, correlation_id, event_id
        if self._tracer is None:
            return started(self._others, described, parent, described.all_attributes(values, ()), links)
        _, _, _, _, _, is_valid = parent
        linked = [Link(context) for context in links] if links else ()
        return self._tracer.start_described(described, parent if is_valid else None, values, (), linked)

    def recorded(self, event: EventType) -> None:
        """Count an event."""
        series = self._counts.get(event.type)
        if series is None:
            series = self._counts[event.type] = self._sent.series(self.described(event))
        series.count += 1

    def described(self, event: EventType) -> Mapping[str, Any]:
        """The attributes of all telemetry about events of a type."""
        return (self._described.get(event.type) or self._describe(event.type)).attributes

    def _describe(self, event_type: str) -> Description:
        common = _common("publish", "send", event_type)
        described = Description(f"publish {event_type}", SpanKind.PRODUCER, common, PUBLISHED)
        self._described[event_type] = described
        return described


class Telemetry:
    """The providers of one service in this process."""

    def __init__(
        self,
        service: str,
        tracer_provider: TracerProvider,
        meter: Meter,
        shut_down: Callable[[], None],
        histograms: Histograms | None = None,
    ) -> None:
        self.service, self.meter, self.shut_down = service, meter, shut_down
        self.tracer_provider = tracer_provider
        """The service's own, for libraries that make spans: the process's is that of the first service in it."""
        tracer = self.tracer = tracer_provider.get_tracer(SCOPE, jetmesh_version())
        self.publishing = Publishing(tracer, meter)
        self.histograms = Histograms() if histograms is None else histograms
        self.consumed = Counter(
            meter, "messaging.client.consumed.messages", "{message}", "Deliveries passed to the reaction."
        )
        self.duration = self.histograms.make(
            "messaging.process.duration", "s", "Duration of one attempt at one delivery.", BUCKETS_SECONDS
        )
        self.elapsed = self.histograms.make(
            "jetmesh.trace.elapsed",
            "s",
            "Time from the first event of a story (the click) until this one was recorded.",
            BUCKETS_STORY_SECONDS,
        )
        self.is_measured = not isinstance(meter, NoOpMeter)

    def reaction(
        self, reaction: Reaction, now: Callable[[], float] = time.time, *, trusts_outside: bool = False
    ) -> "ReactionTelemetry":
        """The spans and metrics of one reaction. `now` is the time to compare with those of messages: the broker's, if
        it is known."""
        return ReactionTelemetry(self, reaction, now, trusts_outside=trusts_outside)


def started(
    tracer: Tracer | None,
    described: Description,
    parent: SpanContext,
    attributes: _Attributes,
    links: Sequence[SpanContext] = (),
) -> trace.Span:
    """Begin a span of whichever tracer it is: in a program that is no service, the program's own."""
    assert tracer is not None
    inside = trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
    linked = [Link(context) for context in links]
    return tracer.start_span(described.name, inside, described.kind, attributes, linked)


def trace_headers(context: SpanContext) -> dict[str, str]:
    """`traceparent`, and `tracestate` if there is one; empty if nothing is traced."""
    if not context.is_valid:
        return {}
    headers = {TRACEPARENT: format_traceparent(context)}
    if context.trace_state:
        headers[TRACESTATE] = context.trace_state.to_header()
    return headers


def trace_lines(context: SpanContext) -> str:
    """The same as header lines."""
    _, _, _, _, trace_state, is_valid = context
    if not is_valid:
        return ""
    if trace_state is not DEFAULT_TRACE_STATE:
        return header_lines(trace_headers(context))
    return f"{TRACEPARENT}: {format_traceparent(context)}\r\n"


class Attempt:
    """One attempt at one delivery, as it goes through the chain of handlers: its span, and its report when it ends.

    `fault` is an error that was found before the body was read. A middleware gets an attempt as
    `jetmesh.middleware.Delivery`.
    """

    __slots__ = ("_home", "_started", "context", "delivered", "delivery", "envelope", "event", "fault", "span", "type")

    event: Event

    def __init__(self, home: "ReactionTelemetry", envelope: Envelope, fault: Exception | None = None) -> None:
        self._home, self.envelope, self.fault = home, envelope, fault
        self.type, self.delivery = envelope.type, envelope.delivery
        self.delivered = self.delivery.delivered
        self._started = time.perf_counter()
        self.span = home.start_process(envelope)
        self.context = self.span.get_span_context()

    @property
    def service(self) -> str:
        """The name of the service whose reaction it is for."""
        return self._home.reaction.service

    @property
    def reaction(self) -> str:
        """The name of that reaction."""
        return self._home.reaction.name

    @property
    def key(self) -> str:
        """The entity that the event is about."""
        return self.envelope.key

    @property
    def headers(self) -> Headers:
        """The headers of the message."""
        return self.delivery.headers

    @property
    def id(self) -> str:
        """The id of what arrived."""
        return self.envelope.id

    @property
    def time(self) -> datetime:
        """When that happened; where its publisher wrote no time, when it was stored."""
        try:
            return datetime.fromtimestamp(instant_of(self.envelope.time), UTC)
        except (ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(self.delivery.timestamp, UTC)

    @property
    def traceparent(self) -> str:
        """The W3C trace context with this attempt as the parent; empty where nothing is traced."""
        return format_traceparent(self.context) if self.context.is_valid else ""

    @property
    def stream(self) -> str:
        """The stream that it stands in."""
        return self.delivery.stream

    @property
    def sequence(self) -> int:
        """Its sequence in that stream."""
        return self.delivery.sequence

    def is_about(self, correlation_id: str) -> None:
        """Set the key from the body: the subject of a message from outside has none."""
        self.span.set_attribute(CONVERSATION, correlation_id)

    def make_current(self) -> None:
        """Make the span current for the rest of the reaction's task: spans of other libraries nest in it, and log lines
        have its id."""
        _, _, _, _, _, is_valid = self.context
        if is_valid:
            attach(Context({_SPAN: self.span}))

    def join(self, story: SpanContext) -> None:
        """Move to the trace of the story that this attempt adds to. The message's trace becomes a link; the span that
        was begun in it is never exported."""
        if story.trace_id == self.context.trace_id:
            return
        began, self.span = self.span, self._home.start_process(self.envelope, story)
        if isinstance(began, HotSpan) and isinstance(self.span, HotSpan):
            self.span.start_time = began.start_time
        self.context = self.span.get_span_context()
        self.is_about(self.envelope.correlation_id)

    def trace_headers(self) -> Headers:
        """The W3C trace context with this attempt as the parent."""
        return trace_headers(self.context)

    def end(self, outcome: Outcome) -> None:
        """Report the outcome, and free what its error holds."""
        span, error = self.span, outcome.error
        span.set_attribute(OUTCOME, outcome.name)
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__qualname__}: {error}"))
        span.end()
        self._home.processed(self, outcome, time.perf_counter() - self._started)
        if error is not None:
            let_go(error)


class ReactionTelemetry:
    """Spans and metrics of one reaction; all that is the same for each delivery is made once."""

    def __init__(
        self,
        telemetry: Telemetry,
        reaction: Reaction,
        now: Callable[[], float] = time.time,
        *,
        trusts_outside: bool = False,
    ) -> None:
        self._now, self._trusts_outside = now, trusts_outside
        self.stats = ReactionStats()
        self.publishing = telemetry.publishing
        self._tracer = telemetry.tracer if isinstance(telemetry.tracer, HotTracer) else None
        self.reaction = reaction
        self._taken = frozenset(event.type for event in reaction.arrives)
        self._process: dict[str, Description] = {}
        self._is_late = reaction.form.is_delayed
        self._is_measured = telemetry.is_measured
        self._series: dict[tuple[str, str, str], tuple[Series, CounterSeries]] = {}
        self._elapsed: dict[str, Series] = {}
        self._telemetry = telemetry

    def start_process(self, envelope: Envelope, story: SpanContext | None = None) -> trace.Span:
        """Begin the span of an attempt, a child of the message's context or of the `story` that it joins. If nothing is
        traced, that context is passed on. A deadline begins a new trace: the story's would last until then."""
        caller = parse_traceparent(envelope.traceparent, envelope.tracestate) if envelope.traceparent else None
        parent, delivery = caller, envelope.delivery
        if story is not None or self._is_late:
            parent = story
        elif not delivery.key and not self._trusts_outside:
            # An untrusted client must not choose an order's trace, which may be another's, nor whether it is sampled.
            parent = None
        if self._tracer is None:
            return trace.NonRecordingSpan(parent) if parent else trace.INVALID_SPAN
        return self._tracer.start_described(
            self._process.get(envelope.type) or self._describe_process(envelope.type),
            parent,
            (
                delivery.subject, envelope.id, envelope.correlation_id if delivery.key else "", envelope.id,
                delivery.stream, envelope.source,
            ),
            (delivery.sequence, delivery.delivered),
            (Link(caller),) if caller else (),
        )  # fmt: skip

    def processed(self, attempt: Attempt, outcome: Outcome, seconds: float) -> None:
        """Count an attempt."""
        kind = type(outcome.error).__qualname__ if outcome.error else ""
        self.stats.add(type(outcome), kind, seconds, attempt.delivered)
        of = (attempt.type, outcome.name, kind)
        durations, counter = self._series.get(of) or self._make_series(of)
        durations.record(seconds, attempt.context)
        counter.count += 1

    def recorded(self, event: EventType, began: str, context: SpanContext) -> None:
        """Count an event, and the time since the first event of its story, which was at `began`."""
        self.publishing.recorded(event)
        if self._is_measured:
            series = self._elapsed.get(event.type)
            if series is None:
                series = self._telemetry.elapsed.series(self.publishing.described(event))
                self._elapsed[event.type] = series
            try:
                series.record(self._now() - instant_of(began), context)
            except (ValueError, OverflowError):  # a client may have published any text as the time
                return

    def _named(self, event_type: str) -> str:
        """The type if the reaction takes it, else one name for all: clients may send any number of unknown types."""
        return event_type if event_type in self._taken else OTHER

    def _describe_process(self, event_type: str) -> Description:
        name = self._named(event_type)
        if name in self._process:
            return self._process[name]
        common = {
            **_common("process", "process", name),
            "messaging.consumer.group.name": self.reaction.durable,
            "jetmesh.reaction": self.reaction.name,
        }
        described = self._process[name] = Description(
            f"process {name}", SpanKind.CONSUMER, common, PROCESSED, PROCESSED_NUMBERS
        )
        return described

    def _make_series(self, of: tuple[str, str, str]) -> tuple[Series, CounterSeries]:
        event_type, outcome, kind = of
        name = self._named(event_type)
        if known := self._series.get((name, outcome, kind)):
            return known
        labels = {
            **_common("process", "process", name),
            "messaging.consumer.group.name": self.reaction.durable,
            "jetmesh.reaction": self.reaction.name,
            OUTCOME: outcome,
        }
        if kind:
            labels["error.type"] = kind
        made = self._telemetry.duration.series(labels), self._telemetry.consumed.series(labels)
        self._series[name, outcome, kind] = made
        return made


def _common(operation: str, operation_type: str, event_type: str) -> _Attributes:
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation_type,
        "messaging.destination.template": f"{event_type}.{{key}}",
        "cloudevents.event_type": event_type,
    }
