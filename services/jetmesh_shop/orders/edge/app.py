"""The application: its middleware in the order they run, and its routes."""

import asyncio

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from opentelemetry.trace import Tracer
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from jetmesh_shop.orders.edge import openapi
from jetmesh_shop.orders.edge.following import Following, QueryToken
from jetmesh_shop.orders.edge.limits import Limits, RateLimit
from jetmesh_shop.orders.edge.placing import Placing
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.problems import Problem, http_problem, internal_problem, problem_response
from jetmesh_shop.orders.edge.tokens import Tokens
from jetmesh_shop.orders.edge.tracing import Tracing


def create_app(
    orders: Orders,
    tokens: Tokens,
    tracer: Tracer,
    limits: Limits | None = None,
    *,
    trusts_callers: bool = False,
    leaving: asyncio.Event | None = None,
) -> FastAPI:
    """The ASGI application of the edge, with its documentation at `/docs` (which needs nothing from the network). Live
    stories end when `leaving` is set."""
    limits, leaving = limits or Limits(), leaving or asyncio.Event()
    app = FastAPIOffline(
        redoc_url=None,
        title="Orders",
        version="1.0.0",
        summary="Place an order, follow its story, cancel it.",
        redirect_slashes=False,
        telemetry={"tracing": False},  # the middleware below makes the one span of a request
        openapi_tags=openapi.TAGS,
        middleware=[
            Middleware(QueryToken),
            Middleware(Tracing, tracer=tracer, trusts_callers=trusts_callers),
            Middleware(RateLimit, limits=limits),
        ],
        exception_handlers={
            Problem: problem_response,
            HTTPException: http_problem,
            Exception: internal_problem,
        },
    )
    _add_routes(app, Placing(orders, tokens, limits), Following(orders, tokens, limits, leaving))
    openapi.describe(app)
    return app


def _add_routes(app: FastAPI, placing: Placing, following: Following) -> None:
    app.add_api_route("/orders", placing.place, methods=["POST"], **openapi.PLACE)
    app.add_api_route("/orders/{order_id}", following.show, methods=["GET"], **openapi.SHOW)
    app.add_api_route("/orders/{order_id}/events", following.follow, methods=["GET"], **openapi.FOLLOW)
    app.add_api_route("/orders/{order_id}", following.cancel, methods=["DELETE"], **openapi.CANCEL)
