"""What the routes of the edge stand on."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from jetmesh.http import KeyTokens, LiveStories
from jetmesh_shop.orders.edge.port import Orders


@dataclass(frozen=True)
class Edge:
    """What the routes stand on."""

    orders: Orders
    tokens: KeyTokens
    live: LiveStories


async def edge_of(request: Request) -> Edge:
    """What the application was made of; async, since FastAPI calls others in a thread, which costs 1 ms a request."""
    edge: Edge = request.app.state.edge
    return edge


TheEdge = Annotated[Edge, Depends(edge_of)]
