"""The limits of an HTTP edge: sizes, times, rates; beyond its rate a client gets 429."""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Network

from starlette.types import ASGIApp, Receive, Scope, Send
from throttled.asyncio import MemoryStore, Quota, Rate, Throttled

from jetmesh.http.problems import TOO_MANY_REQUESTS, response_of, retry_later

CLIENTS_MAX = 10_000
"""How many clients' rates are remembered: those of late."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of an HTTP edge; `requests_per_second` (of one client, with bursts of `burst`) is off where None."""

    connections_max: int = 1_000
    head_bytes: int = 32 * 1024
    head_timeout_seconds: float = 10.0
    idle_seconds: int = 75
    """Longer than balancers keep an idle connection (nginx and AWS: 60 s): they shall be the ones that close it."""
    linger_seconds: float = 2.0
    vanished_seconds: int = 30
    """After so long a client that takes nothing of what it is sent is gone: without this its connection stays for a
    quarter of an hour (TCP_USER_TIMEOUT, where the system has it)."""
    stop_seconds: int = 10
    body_bytes: int = 64 * 1024
    body_timeout_seconds: float = 10.0
    answer_timeout_seconds: float = 30.0
    requests_per_second: float | None = None
    burst: int = 20
    live_max: int = 800
    """Readers of live stories: fewer than connections, so that requests can be answered beside them."""
    live_seconds_max: float = 3_600.0


class ClientRate:
    """Middleware: 429 for a client that asks faster than it may, counted by its address."""

    def __init__(self, app: ASGIApp, requests_per_second: float, burst: int) -> None:
        self.app = app
        # A rate of so many in 1,000 s: the library knows whole seconds and whole requests.
        rate = Rate(timedelta(seconds=1_000), max(1, round(requests_per_second * 1_000)))
        self._throttled = Throttled(
            using="gcra", quota=Quota(rate, burst), store=MemoryStore(options={"MAX_SIZE": CLIENTS_MAX})
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or tell its client when to come again."""
        if scope["type"] == "http":
            asked = await self._throttled.limit(_client(scope))
            if asked.limited:
                problem = retry_later(TOO_MANY_REQUESTS, "This client asks too often.", asked.state.retry_after)
                return await response_of(problem)(scope, receive, send)
        await self.app(scope, receive, send)


def _client(scope: Scope) -> str:
    """The client's address; of IPv6 its /64, since a client has all addresses of that."""
    host: str = (scope.get("client") or ("unknown", 0))[0]
    return str(IPv6Network(f"{host}/64", strict=False)) if ":" in host and "%" not in host else host
