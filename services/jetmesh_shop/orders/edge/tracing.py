"""The SERVER span of each request, by the OpenTelemetry conventions for HTTP; no personal data, no query."""

from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jetmesh import from_outside

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_PROPAGATED = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_propagator = TraceContextTextMapPropagator()


def name_order(order_id: str) -> None:
    """Note on the request's span which order it is about."""
    get_current_span().set_attribute("messaging.message.conversation_id", order_id)


class Tracing:
    """Middleware: one span a request. A caller's trace is linked; it goes on where callers are trusted."""

    def __init__(self, app: ASGIApp, tracer: Tracer, *, trusts_callers: bool) -> None:
        self.app, self.tracer, self.trusts_callers = app, tracer, trusts_callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request inside its span."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        parent, links = from_outside(_caller(scope), trusted=self.trusts_callers)
        with self.tracer.start_as_current_span(
            _method(scope),
            context=set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context(),
            kind=SpanKind.SERVER,
            attributes=_attributes(scope),
            links=links,
            # An exception's message may quote what was sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            await self._observe(span, scope, receive, send)

    async def _observe(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                _answered(span, message["status"])
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception as error:
            _answered(span, 500, type(error).__qualname__)
            raise
        finally:
            _routed(span, scope)


def _caller(scope: Scope) -> SpanContext:
    carrier = {_PROPAGATED[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _PROPAGATED}
    return get_current_span(_propagator.extract(carrier, Context())).get_span_context()


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "HTTP"


def _attributes(scope: Scope) -> dict[str, Any]:
    known = scope["method"] in _METHODS
    host, port = scope.get("server") or ("", None)
    attributes = {
        "http.request.method": scope["method"] if known else "_OTHER",
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
        "server.address": host,
    }
    if not known:
        attributes["http.request.method_original"] = scope["method"]
    return attributes if port is None else {**attributes, "server.port": port}


def _answered(span: Span, status: int, error_type: str | None = None) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", error_type or str(status))
        span.set_status(Status(StatusCode.ERROR))


def _routed(span: Span, scope: Scope) -> None:
    """Name the span by its route: known only after the router has run."""
    route = getattr(scope.get("route"), "path", None)
    if route:
        span.update_name(f"{_method(scope)} {route}")
        span.set_attribute("http.route", route)
