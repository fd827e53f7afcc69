"""Spans encoded by hand mean what the official exporter's messages mean."""

import math
import uuid
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AnyValue, Attributes

from jetmesh.telemetry.otlp.encoding import (
    VALUE_LENGTH_MAX,
    Description,
    encode_described,
    encode_request,
    encode_resource,
    encode_scope,
    encode_span,
)

RESOURCE = Resource({"service.name": "payments", "service.instance.id": "π"}, "https://schema.example/1")
SCOPE = InstrumentationScope("jetmesh", "1.2", "https://schema.example/2", {"scope.attribute": True})
STARTED = 1_800_000_000_000_000_000

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
sequences = st.one_of(*(st.lists(kind, max_size=4) for kind in (texts, st.booleans(), st.integers(-9, 9))))
naturals = st.integers(0, 2**63 - 1)
attributes = st.dictionaries(texts, st.one_of(scalars, sequences, st.binary(max_size=200)), max_size=8)
states = st.sampled_from([TraceState(), TraceState([("vendor", "a"), ("other", "b=c")])])
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(TraceFlags.SAMPLED)),
    states,
)
statuses = st.one_of(
    st.sampled_from([Status(), Status(StatusCode.OK)]), st.builds(Status, st.just(StatusCode.ERROR), texts)
)
spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.just(RESOURCE),
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, st.integers(0, 2**63)), max_size=3),
    # The official exporter leaves out a link's trace state, which the protocol has a field for.
    links=st.lists(st.builds(Link, contexts, attributes), max_size=3),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=st.integers(0, 2**63),
    end_time=st.integers(0, 2**63),
    instrumentation_scope=st.just(SCOPE),
)


def decoded(*readable: ReadableSpan) -> ExportTraceServiceRequest:
    return request(*map(encode_span, readable))


def request(*encoded: bytes) -> ExportTraceServiceRequest:
    body = encode_request(encode_resource(RESOURCE), {encode_scope(SCOPE): encoded})
    return ExportTraceServiceRequest.FromString(body)


def spans_of(message: ExportTraceServiceRequest) -> list[SpanMessage]:
    return list(message.resource_spans[0].scope_spans[0].spans)


def decoded_span(readable: ReadableSpan) -> SpanMessage:
    return spans_of(decoded(readable))[0]


def a_span(attributes: Attributes = None, links: Sequence[Link] = ()) -> ReadableSpan:
    return ReadableSpan(
        name="process orders.placed",
        context=SpanContext(1, 2, False),
        resource=RESOURCE,
        attributes=attributes,
        links=links,
        start_time=STARTED,
        end_time=STARTED + 1,
        instrumentation_scope=SCOPE,
    )


@given(st.lists(spans, min_size=1, max_size=3))
def test_every_field_is_what_the_official_exporter_sends(readable: list[ReadableSpan]) -> None:
    ours = decoded(*readable)
    for span in ours.resource_spans[0].scope_spans[0].spans:
        for link in span.links:
            link.ClearField("trace_state")

    assert ours == encode_spans(readable)


@given(st.tuples(texts, texts), st.tuples(naturals, naturals), attributes)
def test_a_described_span_is_what_the_official_exporter_sends(
    own: tuple[str, ...], numbers: tuple[int, ...], more: dict[str, AnyValue]
) -> None:
    keys, number_keys = ("own text", "long" * 40), ("own number", "number" * 40)
    description = Description("process orders.placed", SpanKind.INTERNAL, {"constant": 1}, keys, number_keys)
    ours = encode_described(a_span(), description, own, numbers, more)

    (official, added) = spans_of(encode_spans([a_span(description.all_attributes(own, numbers)), a_span(more)]))
    official.attributes.extend(added.attributes)
    assert spans_of(request(ours)) == [official]


def test_a_link_keeps_its_trace_state() -> None:
    linked = SpanContext(3, 4, True, trace_state=TraceState([("vendor", "a")]))

    assert decoded_span(a_span(links=[Link(linked)])).links[0].trace_state == "vendor=a"


def test_equal_values_of_different_types_stay_apart() -> None:
    encoded = decoded_span(a_span({"one": 1, "true": True, "float": 1.0, "text": "1"})).attributes

    assert [attribute.value.WhichOneof("value") for attribute in encoded] == [
        "int_value",
        "bool_value",
        "double_value",
        "string_value",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**63, "9223372036854775808"),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("half a pair \ud83d", "half a pair ?"),
    ],
)
def test_what_otlp_has_no_type_for_goes_as_text(value: object, text: str) -> None:
    encoded = decoded_span(a_span({"key": value}))  # type: ignore[dict-item]  # users do this

    assert encoded.attributes[0].value.string_value == text


def test_a_huge_value_is_cut_so_that_its_batch_is_not_refused() -> None:
    encoded = decoded_span(a_span({"text": "é" * 10_000_000, "bytes": bytes(10_000_000)})).attributes

    assert encoded[0].value.string_value == "é" * VALUE_LENGTH_MAX
    assert encoded[1].value.bytes_value == bytes(VALUE_LENGTH_MAX)


def test_not_a_number_and_nothing_are_values_too() -> None:
    encoded = decoded_span(a_span({"nan": math.nan, "none": None, "map": {"inner": [1, None]}})).attributes

    assert math.isnan(encoded[0].value.double_value)
    assert encoded[1].value.WhichOneof("value") is None
    assert encoded[2].value.kvlist_value.values[0].value.array_value.values[0].int_value == 1
