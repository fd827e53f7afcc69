"""The limits of one client of the edge: sizes, times, rates; beyond them it gets 429."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from jetmesh import Unavailable
from jetmesh_shop.orders.edge.problems import (
    BODY_TIMEOUT,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    Problem,
    retry_later,
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of the edge; `requests_per_second` (of one client, with bursts of `burst`) is off where None."""

    connections_max: int = 1_000
    head_bytes: int = 32 * 1024
    head_timeout_seconds: float = 10.0
    idle_seconds: int = 75
    """Longer than balancers keep an idle connection (nginx and AWS: 60 s): they shall be the ones that close it."""
    linger_seconds: float = 2.0
    stop_seconds: int = 10
    body_bytes: int = 64 * 1024
    body_timeout_seconds: float = 10.0
    answer_timeout_seconds: float = 30.0
    requests_per_second: float | None = None
    burst: int = 20
    placing_max: int = 2_000
    streams_max: int = 1_000
    stream_seconds_max: float = 3_600.0
    heartbeat_seconds: float = 15.0


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body.

    Raises:
        Problem: 413 beyond `body_bytes`, as early as that is known; 408 beyond `body_timeout_seconds`.
    """
    if int(request.headers.get("content-length", 0)) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.body_timeout_seconds):
            return await _collect(request, limits)
    except TimeoutError:
        detail = f"The body did not arrive within {limits.body_timeout_seconds:g} s."
        raise Problem(BODY_TIMEOUT, detail, headers={"Connection": "close"}) from None


async def _collect(request: Request, limits: Limits) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
    return bytes(body)


def _too_large(limits: Limits) -> Problem:
    # What is left of the body is not read, so the connection is of no further use.
    return Problem(TOO_LARGE, f"Send at most {limits.body_bytes} bytes.", headers={"Connection": "close"})


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Wait so long for the mesh.

    Raises:
        Problem: 503 with Retry-After where the mesh does not answer in time or takes nothing now.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise retry_later(UNAVAILABLE, _ASK_AGAIN, 1) from None
    except Unavailable as unavailable:
        raise retry_later(UNAVAILABLE, _ASK_AGAIN, unavailable.retry_after_seconds) from None


_ASK_AGAIN = "Ask again with the same order_id or Idempotency-Key: nothing is done twice."


class Slots:
    """How much of one thing may be under way at once."""

    def __init__(self, size: int) -> None:
        self._free = size

    def require(self) -> None:
        """Raise a `Problem` (503) where none is free."""
        if self._free <= 0:
            raise retry_later(UNAVAILABLE, "Too much is under way here. Ask again.", 1)

    def __enter__(self) -> None:
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


class RateLimit:
    """Middleware: 429 for a client that asks faster than it may, counted by its address.

    A generic cell rate algorithm, the token bucket that keeps one number a client: the time at which its bucket is
    full again. Only the clients of late are remembered.
    """

    clients_max = 10_000

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self._seconds_each = 1 / limits.requests_per_second if limits.requests_per_second else 0.0
        self._tolerance_seconds = self._seconds_each * (limits.burst - 1)
        self._full_at: OrderedDict[str, float] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or tell its client when to come again."""
        wait_seconds = self._wait_seconds(_client(scope)) if scope["type"] == "http" and self._seconds_each else 0.0
        if wait_seconds > 0:
            problem = retry_later(TOO_MANY_REQUESTS, "This client asks too often.", wait_seconds)
            return await problem.response()(scope, receive, send)
        await self.app(scope, receive, send)

    def _wait_seconds(self, client: str) -> float:
        now = time.monotonic()
        full_at = max(self._full_at.get(client, 0.0), now)
        if full_at - now > self._tolerance_seconds:
            return full_at - now - self._tolerance_seconds
        self._full_at[client] = full_at + self._seconds_each
        self._full_at.move_to_end(client)
        if len(self._full_at) > self.clients_max:
            self._full_at.popitem(last=False)
        return 0.0


def _client(scope: Scope) -> str:
    """The client's address; of IPv6 its /64, since a client has all addresses of that."""
    host: str = (scope.get("client") or ("unknown", 0))[0]
    return str(IPv6Network(f"{host}/64", strict=False)) if ":" in host and "%" not in host else host
