"""The application: its middleware in the order they run, and its routes."""

import asyncio
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyQuery, HTTPBearer
from fastapi_offline import FastAPIOffline
from opentelemetry.trace import Tracer, TracerProvider
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from jetmesh_shop.orders.edge import problems
from jetmesh_shop.orders.edge.following import Following
from jetmesh_shop.orders.edge.limits import Limits, RateLimit
from jetmesh_shop.orders.edge.openapi import LIVE, LOCATION, ORDER_BODY, describe, problem_responses
from jetmesh_shop.orders.edge.outside import Outside, link_caller
from jetmesh_shop.orders.edge.placing import Placing, Receipt
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.problems import Problem
from jetmesh_shop.orders.edge.tokens import Tokens

_BEARER = Depends(HTTPBearer(auto_error=False, scheme_name="bearer", description="The token of the order's creation."))
_QUERY = Depends(
    APIKeyQuery(name="access_token", auto_error=False, scheme_name="accessToken", description="For EventSource.")
)
_OF_ONE_ORDER = (problems.UNAUTHORIZED, problems.FORBIDDEN, problems.NOT_FOUND)


class _OneTracer(TracerProvider):
    """FastAPI asks a provider for its tracer: it gets the process's own."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def get_tracer(self, *_: Any, **__: Any) -> Tracer:
        return self._tracer


def create_app(
    orders: Orders,
    tokens: Tokens,
    tracer: Tracer,
    limits: Limits | None = None,
    *,
    trusts_callers: bool = False,
    leaving: asyncio.Event | None = None,
) -> ASGIApp:
    """The ASGI application of the edge, with its documentation at `/docs` (which needs nothing from the network). Live
    stories end when `leaving` is set."""
    limits, leaving = limits or Limits(), leaving or asyncio.Event()
    app = FastAPIOffline(
        redoc_url=None,
        title="Orders",
        version="1.0.0",
        summary="Place an order, follow its story, cancel it.",
        redirect_slashes=False,
        # One span a request, without what was sent: an exception's message may quote it.
        telemetry={"tracer_provider": _OneTracer(tracer), "operation_spans": False, "metrics": False, "logs": False},
        openapi_tags=[{"name": "orders", "description": "An order belongs to the holder of its creation's token."}],
        dependencies=[Depends(link_caller)],
        middleware=[Middleware(RateLimit, limits=limits)],
        exception_handlers={
            Problem: problems.problem_response,
            RequestValidationError: problems.header_problem,
            HTTPException: problems.http_problem,
            Exception: problems.internal_problem,
        },
    )
    _add_placing(app, Placing(orders, tokens, limits))
    _add_following(app, Following(orders, tokens, limits, leaving))
    describe(app)
    return Outside(app, trusts_callers=trusts_callers)


def _add_placing(app: FastAPI, placing: Placing) -> None:
    app.post(
        "/orders",
        operation_id="placeOrder",
        summary="Place an order",
        tags=["orders"],
        status_code=201,
        response_description="The order is stored.",
        openapi_extra=ORDER_BODY,
        responses={
            201: LOCATION,
            200: {"model": Receipt, "description": "The same order was stored before.", **LOCATION},
            **problem_responses(
                problems.MALFORMED, problems.BAD_HEADER, problems.BODY_TIMEOUT, problems.ORDER_EXISTS,
                problems.TOO_LARGE, problems.UNSUPPORTED_MEDIA_TYPE, problems.INVALID_ORDER, problems.KEY_REUSED,
                problems.REFUSED,
            ),
        },
    )(placing.place)  # fmt: skip


def _add_following(app: FastAPI, following: Following) -> None:
    of_one: dict[str, Any] = {"tags": ["orders"]}
    app.get(
        "/orders/{order_id}", operation_id="showOrder", summary="Show an order and its story",
        dependencies=[_BEARER], responses=problem_responses(*_OF_ONE_ORDER), **of_one,
    )(following.show)  # fmt: skip
    app.get(
        "/orders/{order_id}/events", operation_id="followOrder", summary="Follow an order as it happens",
        dependencies=[_BEARER, _QUERY], responses={**LIVE, **problem_responses(problems.BAD_HEADER, *_OF_ONE_ORDER)},
        **of_one,
    )(following.follow)  # fmt: skip
    app.delete(
        "/orders/{order_id}", operation_id="cancelOrder", summary="Ask to cancel an order", status_code=202,
        dependencies=[_BEARER], responses=problem_responses(problems.TOO_LATE, *_OF_ONE_ORDER), **of_one,
    )(following.cancel)  # fmt: skip
