"""What the routes of the edge stand on."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from jetmesh.http import Limits
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class EdgeLimits(Limits):
    """The limits of the edge, with those of live stories."""

    streams_max: int = 800
    """Fewer than connections, so that orders can be placed beside them."""
    stream_seconds_max: float = 3_600.0


@dataclass(frozen=True)
class Edge:
    """What the routes stand on. Live stories end when `leaving` is set, so that their readers go elsewhere."""

    orders: Orders
    tokens: Tokens
    limits: EdgeLimits
    leaving: asyncio.Event
    streams: asyncio.Semaphore


async def edge_of(request: Request) -> Edge:
    """What the application was made of; async, since FastAPI calls others in a thread, which costs 1 ms a request."""
    edge: Edge = request.app.state.edge
    return edge


TheEdge = Annotated[Edge, Depends(edge_of)]
