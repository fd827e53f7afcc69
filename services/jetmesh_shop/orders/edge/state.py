"""What the routes of the edge stand on."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from jetmesh.http import LiveStories
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.tokens import Tokens


@dataclass(frozen=True)
class Edge:
    """What the routes stand on."""

    orders: Orders
    tokens: Tokens
    live: LiveStories


async def edge_of(request: Request) -> Edge:
    """What the application was made of; async, since FastAPI calls others in a thread, which costs 1 ms a request."""
    edge: Edge = request.app.state.edge
    return edge


TheEdge = Annotated[Edge, Depends(edge_of)]
