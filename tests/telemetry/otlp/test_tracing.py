"""Spans made through OpenTelemetry's interfaces are what the official SDK would have made."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.trace.span import TraceState

from jetmesh.telemetry.otlp import Span, TracerProvider, tracer_provider
from jetmesh.telemetry.otlp import Tracer as HotTracer
from jetmesh.telemetry.otlp.encoding import Description, encode_span

RESOURCE = Resource({"service.name": "payments"})
REMOTE = SpanContext(7, 9, True, TraceFlags(TraceFlags.SAMPLED), TraceState([("vendor", "a")]))
UNSAMPLED = SpanContext(7, 9, True, TraceFlags(TraceFlags.DEFAULT))


def provider(**variables: str) -> TracerProvider:
    return tracer_provider(RESOURCE, {"OTEL_TRACES_EXPORTER": "none", **variables})


def under(parent: SpanContext) -> context.Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), context.Context())


def ids_aside(span: ReadableSpan) -> dict[str, Any]:
    """All that two runs of the same code must agree on."""
    return {
        "name": span.name,
        "kind": span.kind,
        "parent": span.parent and span.parent.trace_id,
        "flags": span.context and span.context.trace_flags,
        "state": span.context and dict(span.context.trace_state),
        "attributes": dict(span.attributes or {}),
        "links": [(link.context, dict(link.attributes or {})) for link in span.links],
        "events": [(event.name, without_lines(event.attributes or {})) for event in span.events],
        "status": (span.status.status_code, span.status.description),
        "scope": (span.instrumentation_scope and span.instrumentation_scope.name),
    }


def without_lines(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A stack trace holds the frames of whose context manager it passed."""
    return {key: str(value).splitlines()[-1:] if "stack" in key else value for key, value in attributes.items()}


def use_everything(tracer: Tracer) -> None:
    with tracer.start_as_current_span("outer", under(REMOTE), SpanKind.CONSUMER, {"a": 1}, [Link(REMOTE)]) as outer:
        outer.set_attributes({"b": (1, 2), "a": 2})
        outer.add_event("seen", {"x": True}, 5)
        outer.add_link(SpanContext(3, 4, False), {"why": "batch"})
        outer.set_status(Status(StatusCode.ERROR, "first"))
        outer.set_status(StatusCode.OK)
        outer.set_status(StatusCode.ERROR, "after ok")
        inner = tracer.start_span("inner")
        inner.update_name("renamed")
        inner.end(6)
    with pytest.raises(ValueError, match="no"), tracer.start_as_current_span("fails"):
        raise ValueError("no")
    with pytest.raises(KeyError), tracer.start_span("fails as well"):
        raise KeyError("key")
    with pytest.raises(KeyError), tracer.start_span("keeps quiet", None, SpanKind.CLIENT, None, None, 1, False, False):
        raise KeyError("key")
    decorated(tracer)()


def decorated(tracer: Tracer) -> Any:
    @tracer.start_as_current_span("decorated")
    def work() -> None:
        trace.get_current_span().set_attribute("inside", True)

    return work


def test_the_same_code_makes_the_same_spans_as_the_official_sdk() -> None:
    spans: list[list[dict[str, Any]]] = []
    for tracing in (SdkTracerProvider(resource=RESOURCE), provider()):
        exporter = InMemorySpanExporter()
        tracing.add_span_processor(SimpleSpanProcessor(exporter))
        use_everything(tracing.get_tracer("test"))
        spans.append([ids_aside(span) for span in exporter.get_finished_spans()])

    assert spans[0] == spans[1]
    assert len(spans[1]) == 6


def test_a_span_that_has_ended_does_not_change(caplog: pytest.LogCaptureFixture) -> None:
    span = provider().get_tracer("test").start_span("over")
    assert isinstance(span, Span)
    span.end(5)
    span.set_attribute("late", True)
    span.add_event("late")
    span.end(6)

    assert (span.end_time, span.attributes, span.events) == (5, {}, [])
    assert not span.is_recording()
    assert "over" in caplog.text


def test_what_is_set_replaces_what_the_description_of_a_span_says() -> None:
    queue = Kept()
    tracing = provider()
    tracing.queue = queue
    tracer = tracing.get_tracer("test")
    assert isinstance(tracer, HotTracer)
    description = Description("publish", SpanKind.PRODUCER, {"system": "nats"}, ("id",), ("number",))
    span = tracer.start_described(description, None, ("one",), (1,))
    assert isinstance(span, Span)
    span.set_attribute("outcome", "recorded")
    assert span.attributes == {"system": "nats", "id": "one", "number": 1, "outcome": "recorded"}

    span.set_attributes({"id": "two", "system": "other"})
    span.update_name("renamed")
    span.end()

    assert span.attributes == {"system": "other", "id": "two", "number": 1, "outcome": "recorded"}
    assert queue.spans == [encode_span(span)]


class Kept:
    """A queue that keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[bytes] = []

    def add(self, scope: tuple[bytes, bytes], span: bytes) -> None:
        self.spans.append(span)

    def force_flush(self, timeout_seconds: float) -> bool:
        return True

    def shutdown(self, timeout_seconds: float) -> None: ...


def test_a_span_that_cannot_be_encoded_does_not_fail_the_work(caplog: pytest.LogCaptureFixture) -> None:
    with provider().get_tracer("test").start_as_current_span("work") as span:
        span.set_attribute(5, "not a text key")  # type: ignore[arg-type]  # users do this

    assert "'work' cannot be encoded" in caplog.text


def test_the_context_goes_along_with_tasks() -> None:
    tracer = provider().get_tracer("test")

    async def child() -> SpanContext | None:
        await asyncio.sleep(0)
        span = tracer.start_span("child")
        assert isinstance(span, Span)
        return span.parent

    async def parents() -> None:
        with tracer.start_as_current_span("parent") as parent:
            assert list(await asyncio.gather(child(), child())) == [
                parent.get_span_context(),
                parent.get_span_context(),
            ]

    asyncio.run(parents())


def test_ids_are_new_although_the_application_seeds_random() -> None:
    tracer = provider().get_tracer("test")
    contexts = []
    for _ in range(2):
        random.seed(1)
        contexts.append(tracer.start_span("root", context.Context()).get_span_context())

    assert contexts[0].trace_id != contexts[1].trace_id
    assert contexts[0].span_id != contexts[1].span_id


@pytest.mark.parametrize(
    ("sampler", "root", "sampled", "unsampled"),
    [
        ("", True, True, False),
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
        ("traceidratio", False, False, False),
        ("parentbased_traceidratio", False, True, False),
    ],
)
def test_samplers_decide_as_the_specification_says(sampler: str, root: bool, sampled: bool, unsampled: bool) -> None:
    tracer = provider(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0").get_tracer("test")
    spans = [tracer.start_span("span", parent) for parent in (context.Context(), under(REMOTE), under(UNSAMPLED))]

    assert [span.is_recording() for span in spans] == [root, sampled, unsampled]
    assert [span.get_span_context().trace_flags.sampled for span in spans] == [root, sampled, unsampled]
    assert [span.get_span_context().trace_id for span in spans[1:]] == [7, 7]


def test_a_share_of_the_traces_is_kept() -> None:
    tracer = provider(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5").get_tracer("test")

    kept = [
        tracer.start_span("span", under(SpanContext(trace_id, 1, True))).is_recording()
        for trace_id in (1 << 62, 3 << 62)
    ]

    assert kept == [True, False]


def test_a_disabled_sdk_makes_no_spans_and_passes_contexts_on() -> None:
    tracing = provider(OTEL_SDK_DISABLED="true")
    span = tracing.get_tracer("test").start_span("span", under(REMOTE))

    assert not span.is_recording()
    assert span.get_span_context() == REMOTE
    assert tracing.force_flush()
    tracing.shutdown()


def test_what_the_operator_says_of_the_process_wins() -> None:
    tracing = provider(OTEL_SERVICE_NAME="payments-eu", OTEL_RESOURCE_ATTRIBUTES="service.name=other,zone=a")

    assert tracing.resource.attributes == {"service.name": "payments-eu", "zone": "a"}


def test_a_users_processor_may_add_attributes_when_a_span_starts() -> None:
    class Baggage(SpanProcessor):
        def on_start(self, span: trace.Span, parent_context: context.Context | None = None) -> None:
            span.set_attributes({key: str(value) for key, value in baggage.get_all(parent_context).items()})

    tracing = provider()
    tracing.add_span_processor(Baggage())
    span = tracing.get_tracer("test").start_span("span", baggage.set_baggage("tenant", "a"))

    assert isinstance(span, Span)
    assert span.attributes == {"tenant": "a"}


def test_one_scope_has_one_tracer() -> None:
    tracing = provider()

    assert tracing.get_tracer("a", "1") is tracing.get_tracer("a", "1")
    assert tracing.get_tracer("a", "1") is not tracing.get_tracer("a", "2")
