"""The application: its middleware in the order they run, its routes, and its answers to errors."""

import asyncio

from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from opentelemetry.trace import TracerProvider
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from jetmesh import Unavailable
from jetmesh_shop.orders.edge import following, placing, problems
from jetmesh_shop.orders.edge.limits import Limits, RateLimit
from jetmesh_shop.orders.edge.openapi import describe
from jetmesh_shop.orders.edge.outside import Outside
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.requests import Edge
from jetmesh_shop.orders.edge.tokens import Tokens


def create_app(
    orders: Orders,
    tokens: Tokens,
    limits: Limits | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    trusts_callers: bool = False,
    leaving: asyncio.Event | None = None,
) -> ASGIApp:
    """The ASGI application of the edge, with its documentation at `/docs` (which needs nothing from the network). Live
    stories end when `leaving` is set. Without a `tracer_provider` the process's own has its spans."""
    limits = limits or Limits()
    rate = limits.requests_per_second
    app = FastAPIOffline(
        routes=[*placing.router.routes, *following.router.routes],
        redoc_url=None,
        title="Orders",
        version="1.0.0",
        summary="Place an order, follow its story, cancel it.",
        redirect_slashes=False,
        # One span a request, without what was sent: an exception's message may quote it.
        telemetry={"tracer_provider": tracer_provider, "operation_spans": False, "metrics": False, "logs": False},
        openapi_tags=[{"name": "orders", "description": "An order belongs to the holder of its creation's token."}],
        middleware=[Middleware(RateLimit, rate, limits.burst)] if rate else [],
        exception_handlers={
            RequestValidationError: problems.invalid_request,
            HTTPException: problems.http_problem,
            Unavailable: problems.unavailable,
            TimeoutError: problems.unavailable,
            Exception: problems.internal_problem,
        },
    )
    app.state.edge = Edge(orders, tokens, limits, leaving or asyncio.Event(), asyncio.Semaphore(limits.streams_max))
    describe(app)
    return Outside(app, trusts_callers=trusts_callers)
