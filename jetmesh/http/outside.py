"""What callers may not decide and URLs may not keep is taken from a request before any log or span sees it."""

from urllib.parse import parse_qsl, urlencode

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

CALLER = "jetmesh.caller"
_TRACE = {b"traceparent": "traceparent", b"tracestate": "tracestate", b"baggage": "baggage"}
_propagator = TraceContextTextMapPropagator()


class FromOutside:
    """The application, seen from outside.

    A caller who is not trusted chooses neither the trace of what it asks for nor whether it is sampled: its own is
    linked. An `access_token` is taken out of the query; where the path ends with `/events`, it becomes a bearer token,
    since an EventSource can't set headers.
    """

    def __init__(self, app: ASGIApp, *, trusts_callers: bool) -> None:
        self._app, self._trusts_callers = app, trusts_callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; the server's own scope is changed, on purpose."""
        if scope["type"] == "http":
            if b"access_token" in scope["query_string"]:
                _move_token(scope)
            if not self._trusts_callers:
                _take_caller(scope)
        await self._app(scope, receive, send)


def _move_token(scope: Scope) -> None:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in query if name == "access_token"]
    scope["query_string"] = urlencode([item for item in query if item[0] != "access_token"]).encode()
    bearing = any(name == b"authorization" for name, _ in scope["headers"])
    if tokens and not bearing and scope["path"].endswith("/events"):
        scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {tokens[0]}".encode())]


def _take_caller(scope: Scope) -> None:
    context_headers = {_TRACE[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE}
    if context_headers:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _TRACE]
        scope[CALLER] = get_current_span(_propagator.extract(context_headers, Context())).get_span_context()


def link_caller(scope: Scope) -> None:
    """Have the request's span link the trace of a caller who is not trusted."""
    caller: SpanContext | None = scope.get(CALLER)
    if caller and caller.is_valid:
        get_current_span().add_link(caller)


def name_key(key: str) -> None:
    """Note on the request's span which key it is about, as every span of the key's story does."""
    get_current_span().set_attribute("messaging.message.conversation_id", key)
