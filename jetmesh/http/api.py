"""An HTTP API as a FastAPI application: bounded requests, problem documents, a span a request, documentation."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from opentelemetry.trace import TracerProvider
from starlette.middleware import Middleware

from jetmesh.http.errors import Problems
from jetmesh.http.limits import ClientRate, Limits
from jetmesh.http.openapi import describe
from jetmesh.http.requests import BoundedRoute


def api(
    limits: Limits | None = None,
    *,
    problems: Problems | None = None,
    tracer_provider: TracerProvider | None = None,
    **options: Any,
) -> FastAPI:
    """A FastAPI application whose requests keep the `limits` and whose answers that are no success are problem
    documents. `options` are FastAPI's own.

    It has its documentation at `/docs`, which needs nothing from the network. Routes that are not declared on it are
    declared on a `Router`, so that they are bounded as well. Each request is one span, by the process's provider if no
    `tracer_provider` is given; a service gives its own: `context.telemetry.tracer_provider`.
    """
    limits, problems = limits or Limits(), problems or Problems()
    app = FastAPIOffline(
        **{"redirect_slashes": False, **options},
        # Without what was sent: an exception's message may quote it.
        telemetry={"tracer_provider": tracer_provider, "operation_spans": False, "metrics": False, "logs": False},
        middleware=_rate_limit(limits),
        exception_handlers=problems.handlers(),
    )
    app.router.route_class = BoundedRoute
    app.state.limits = limits
    describe(app, problems.members)
    return app


def _rate_limit(limits: Limits) -> Sequence[Middleware]:
    rate = limits.requests_per_second
    return [Middleware(ClientRate, rate, limits.burst)] if rate else []
