"""The application: its routes, and what they stand on."""

import asyncio

from fastapi import FastAPI
from opentelemetry.trace import TracerProvider

from jetmesh.http import KeyTokens, Limits, LiveStories, api
from jetmesh_shop.orders.edge import following, placing
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.problems import PROBLEMS
from jetmesh_shop.orders.edge.state import Edge
from jetmesh_shop.orders.edge.stories import Happened, end_of
from jetmesh_shop.orders.service import orders as service


def create_app(
    orders: Orders,
    tokens: KeyTokens,
    limits: Limits | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    leaving: asyncio.Event | None = None,
) -> FastAPI:
    """The application of the edge. Live stories end when `leaving` is set."""
    limits = limits or Limits()
    app = api(
        limits,
        problems=PROBLEMS,
        tracer_provider=tracer_provider,
        routes=[*placing.router.routes, *following.router.routes],
        title="Orders",
        version="1.0.0",
        summary="Place an order, follow its story, cancel it.",
        openapi_tags=[{"name": "orders", "description": "An order belongs to the holder of its creation's token."}],
    )
    live = LiveStories(service.stream, Happened.of, end_of, limits=limits, leaving=leaving)
    app.state.edge = Edge(orders, tokens, live)
    return app
