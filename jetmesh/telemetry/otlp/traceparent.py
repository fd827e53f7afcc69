"""The `traceparent` and `tracestate` headers to and from a `SpanContext` (W3C Trace Context)."""

import logging
import re

from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

# Version ff is forbidden; version 00 ends after the flags (55 characters), a later one may continue after a dash.
_TRACEPARENT = re.compile(r"(?!ff|00.{54})[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_TRACESTATE_LENGTH_MAX = 512
# OpenTelemetry would log a line for each member that it ignores.
logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)
_FLAGS = tuple(TraceFlags(flags) for flags in range(0x100))


def parse_traceparent(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """The remote span that a message names as its parent; None if the header is invalid, as the W3C demands."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace_id, span_id, flags = match.groups()
    trace, span = int(trace_id, 16), int(span_id, 16)
    if not trace or not span:
        return None
    state = _trace_state(tracestate) if tracestate else DEFAULT_TRACE_STATE
    # Skips the checks of SpanContext, which were made here.
    return tuple.__new__(SpanContext, (trace, span, True, _FLAGS[int(flags, 16)], state, True))


def trace_id_of(traceparent: str) -> str:
    """The trace that a message belongs to, 32 hexadecimal digits; empty if `parse_traceparent` returns None."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return ""
    trace_id, span_id, _ = match.groups()
    return "" if trace_id.strip("0") == "" or span_id.strip("0") == "" else trace_id


def format_traceparent(context: SpanContext) -> str:
    """The header with this span as the parent; `context.trace_state.to_header()` is the `tracestate` for it."""
    trace_id, span_id, _, flags, _, _ = context
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def _trace_state(tracestate: str) -> TraceState:
    return TraceState.from_header([tracestate]) if len(tracestate) <= _TRACESTATE_LENGTH_MAX else DEFAULT_TRACE_STATE
