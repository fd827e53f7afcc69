"""The headers are read as strictly as the W3C asks, and as the official propagator reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jetmesh.telemetry.otlp import format_traceparent, parse_traceparent, trace_id_of

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROPAGATOR = TraceContextTextMapPropagator()


def official(traceparent: str, tracestate: str) -> SpanContext | None:
    headers = {"traceparent": traceparent, "tracestate": tracestate}
    context = trace.get_current_span(PROPAGATOR.extract(headers, context=Context())).get_span_context()
    return context if context.is_valid else None


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-01-",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-0_",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"01-{TRACE_ID}-{SPAN_ID}-01more",
        f"0-{TRACE_ID}-{SPAN_ID}-01",
    ],
)
def test_a_header_that_breaks_a_rule_names_no_parent(traceparent: str) -> None:
    assert parse_traceparent(traceparent) is None
    assert official(traceparent, "") is None
    assert trace_id_of(traceparent) == ""


@pytest.mark.parametrize("traceparent", [f"01-{TRACE_ID}-{SPAN_ID}-01", f"cc-{TRACE_ID}-{SPAN_ID}-03-later-fields"])
def test_a_later_version_is_read_as_far_as_it_is_known(traceparent: str) -> None:
    assert parse_traceparent(traceparent) == official(traceparent, "")
    assert parse_traceparent(traceparent) is not None
    assert trace_id_of(traceparent) == TRACE_ID


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_is_read_again(trace_id: int, span_id: int, flags: int) -> None:
    written = SpanContext(trace_id, span_id, True, TraceFlags(flags))

    read = parse_traceparent(format_traceparent(written))

    assert read == (written if written.is_valid else None) == official(format_traceparent(written), "")
    assert trace_id_of(format_traceparent(written)) == (f"{trace_id:032x}" if written.is_valid else "")


@pytest.mark.parametrize("tracestate", ["", "a=1,b=2", "a=1, ,b@c=2", "broken", "a=1,a=2", f"a={'x' * 600}"])
def test_the_trace_state_is_kept_where_it_is_well_formed(tracestate: str) -> None:
    traceparent = f"00-{TRACE_ID}-{SPAN_ID}-01"

    read, expected = parse_traceparent(traceparent, tracestate), official(traceparent, tracestate)

    assert read is not None
    assert expected is not None
    assert dict(read.trace_state) == dict(expected.trace_state)


@pytest.mark.parametrize("tracestate", ["a=b\r\nX: y", "a=b\x1b[2J", "A=b", ",".join(f"k{n}=v" for n in range(40))])
def test_a_tracestate_that_is_none_is_left_out_without_a_word(
    tracestate: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger sends one with every message: the log would be his."""
    found = parse_traceparent(f"00-{'1' * 32}-{'2' * 16}-01", tracestate)
    assert found is not None
    assert "\r" not in found.trace_state.to_header()
    assert caplog.records == []
