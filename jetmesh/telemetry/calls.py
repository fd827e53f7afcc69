"""The spans of requests and of what answers them, and how long they took (OpenTelemetry's conventions for RPC).

https://github.com/open-telemetry/semantic-conventions/blob/main/docs/rpc/rpc-spans.md
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanKind, Status, StatusCode, set_span_in_context, use_span

from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, Headers
from jetmesh.problem import Problem
from jetmesh.telemetry.instruments import Series
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.telemetry.spans import BUCKETS_SECONDS, Telemetry, trace_headers

SYSTEM = "nats"
SERVER_ERROR = 500


class Calls:
    """The spans and durations of the requests that one service or program answers, or sends."""

    def __init__(self, telemetry: Telemetry, kind: SpanKind) -> None:
        self._tracer, self._kind = telemetry.tracer, kind
        side = "server" if kind is SpanKind.SERVER else "client"
        self._durations = telemetry.histograms.make(
            f"rpc.{side}.call.duration", "s", "Duration of one request, by the status of its answer.", BUCKETS_SECONDS
        )
        self._series: dict[tuple[str, str], Series] = {}

    @contextmanager
    def span(self, request_type: str, headers: Headers) -> Iterator[Headers]:
        """The span of one request, current in the block; it ends with the problem that the block raises. `headers` are
        those that the request came with; what comes back is what a request takes along."""
        method = request_type.replace(".", "/", 1)
        attributes = {"rpc.system.name": SYSTEM, "rpc.method": method}
        span = self._tracer.start_span(method, self._parent(headers), self._kind, attributes)
        begun, status = time.perf_counter(), "200"
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield trace_headers(span.get_span_context())
        except Exception as error:
            status = str(error.status) if isinstance(error, Problem) else type(error).__qualname__
            span.set_attribute("error.type", status)
            if self._kind is SpanKind.CLIENT or not isinstance(error, Problem) or error.status >= SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__qualname__}: {error}"))
            raise
        finally:
            span.set_attribute("rpc.response.status_code", status)
            span.end()
            self._measured(method, status).record(time.perf_counter() - begun, span.get_span_context())

    def _parent(self, headers: Headers) -> Context | None:
        """The caller's span; None: the current one."""
        if self._kind is SpanKind.CLIENT:
            return None
        caller = parse_traceparent(headers.get(TRACEPARENT, ""), headers.get(TRACESTATE, ""))
        return set_span_in_context(NonRecordingSpan(caller), Context()) if caller else Context()

    def _measured(self, method: str, status: str) -> Series:
        series = self._series.get((method, status))
        if series is None:
            labels = {"rpc.system.name": SYSTEM, "rpc.method": method, "rpc.response.status_code": status}
            series = self._series[method, status] = self._durations.series(labels)
        return series
