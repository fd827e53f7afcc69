"""What FastAPI gets of a request: its caller's trace is linked, its body bounded and read by the rule of all bodies."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from jetmesh import MalformedJson, read_json
from jetmesh_shop.orders.edge.limits import Limits
from jetmesh_shop.orders.edge.outside import link_caller
from jetmesh_shop.orders.edge.port import Orders
from jetmesh_shop.orders.edge.problems import BODY_TIMEOUT, MALFORMED, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem
from jetmesh_shop.orders.edge.tokens import Tokens

_JSON = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Edge:
    """What the routes stand on. Live stories end when `leaving` is set, so that their readers go elsewhere."""

    orders: Orders
    tokens: Tokens
    limits: Limits
    leaving: asyncio.Event
    streams: asyncio.Semaphore


async def edge_of(request: Request) -> Edge:
    """What the application was made of; async, since FastAPI calls others in a thread, which costs 1 ms a request."""
    edge: Edge = request.app.state.edge
    return edge


TheEdge = Annotated[Edge, Depends(edge_of)]


class EdgeRoute(APIRoute):
    """A route whose requests are bounded. No answer is kept by a cache: it is for the bearer of a token."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, with that around it."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            link_caller(request.scope)
            async with asyncio.timeout(request.app.state.edge.limits.answer_timeout_seconds):
                response = await handle(BoundedRequest(request.scope, request.receive))
            response.headers["Cache-Control"] = "no-store"
            return response

        return bounded


class BoundedRequest(Request):
    """A request whose body has to be plain JSON, of a limited size, within a limited time."""

    async def body(self) -> bytes:
        """The whole body; its document is what `json` returns.

        Raises:
            Problem: 415 unless it is plain JSON; 413 beyond `body_bytes`, as early as that is known; 408 beyond
                `body_timeout_seconds`; 400 where it is no JSON.
        """
        if not hasattr(self, "_body"):
            _require_json(self.headers)
            self._body = await self._whole(self.app.state.edge.limits)
            self._json = parsed(self._body)
        return self._body

    async def _whole(self, limits: Limits) -> bytes:
        if int(self.headers.get("content-length", 0)) > limits.body_bytes:
            raise _too_large(limits)
        try:
            async with asyncio.timeout(limits.body_timeout_seconds):
                return await self._collected(limits)
        except TimeoutError:
            detail = f"The body did not arrive within {limits.body_timeout_seconds:g} s."
            raise Problem(BODY_TIMEOUT, detail, headers={"Connection": "close"}) from None

    async def _collected(self, limits: Limits) -> bytes:
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > limits.body_bytes:
                raise _too_large(limits)
        return bytes(body)


def _require_json(headers: Headers) -> None:
    if not _JSON.fullmatch(", ".join(headers.getlist("content-type"))):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send the order as Content-Type: application/json, in UTF-8.")
    if headers.get("content-encoding", "identity") != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send the order without Content-Encoding.")


def _too_large(limits: Limits) -> Problem:
    # What is left of the body is not read, so the connection is of no further use.
    return Problem(TOO_LARGE, f"Send at most {limits.body_bytes} bytes.", headers={"Connection": "close"})


def parsed(body: bytes) -> Any:
    """The document in a body. Raises a `Problem` (400) where it is no JSON."""
    try:
        return read_json(body)
    except MalformedJson as error:
        raise Problem(MALFORMED, f"Send one JSON object in UTF-8: {error}.") from None
