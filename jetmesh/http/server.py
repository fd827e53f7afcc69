"""The HTTP server: it bounds what a client may send before there is a request, and how long that may
take; told to stop, it answers what it has accepted."""

import asyncio
import contextlib
import functools
import logging
import socket
from asyncio import AbstractEventLoop, Transport
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from jetmesh.common.throttled_log import Conditions
from jetmesh.http.limits import Limits
from jetmesh.http.problems import CROWDED, HEAD_TIMEOUT, HEAD_TOO_LARGE, response_of, retry_later
from jetmesh.problem import Problem
from jetmesh.settings import SettingsError

log = logging.getLogger("jetmesh.http")
http_log = logging.getLogger("jetmesh.http.protocol")
http_log.setLevel(logging.ERROR)  # uvicorn warns of each request that is no HTTP


@dataclass
class HttpConnections:
    """What the connections share: `waiting` are those without a request under way, the one that waits longest first. A
    request's head that comes slowly, or never, is no request yet."""

    limits: Limits
    is_leaving: bool = False
    conditions: Conditions = field(default_factory=lambda: Conditions(log))
    waiting: "dict[HttpConnection, None]" = field(default_factory=dict)

    def make_room(self, connections: int, newest: "HttpConnection") -> None:
        """One connection has come: end the one that waits longest, where that is one too many."""
        if connections <= self.limits.connections_max:
            return
        self.conditions.say(logging.WARNING, "crowded", f"{connections} connections: the one that idles longest ends")
        oldest = next((waiting for waiting in self.waiting if waiting is not newest), newest)
        oldest.refuse(retry_later(CROWDED, "Too many connections are open here.", 1))


class HttpConnection(HttpToolsProtocol):
    """uvicorn's, which reads a head of any size for any time. httptools tells of a header once all of it is there, so
    that its bytes are counted as they come."""

    def __init__(
        self, shared: HttpConnections, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self.logger = http_log
        self._shared, self._limits = shared, shared.limits
        self._head_bytes = 0
        self._awaits_head = True
        self._ended_now = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client is there: it has so long to send the head of a request."""
        super().connection_made(transport)
        self._wait()
        self._head_within()
        self._shared.make_room(len(self.connections), self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._no_longer_waits()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and count what belongs to a head that is not complete."""
        if self._awaits_head and self._deadline is None:
            self._head_within()
        self._ended_now = False
        super().data_received(data)
        if self._awaits_head and not self._ended_now:  # these bytes may be of the body that has just ended
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse_head()

    def on_headers_complete(self) -> None:
        """The head is there: a request begins."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self._limits.head_bytes:
            self._refuse_head()
            raise ValueError("the head is too large")
        self._no_longer_waits()
        self._awaits_head, self._head_bytes = False, 0
        super().on_headers_complete()
        if self._shared.is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is there with its body; what follows is the next one's head."""
        super().on_message_complete()
        self._unset_deadline()
        self._awaits_head = self._ended_now = True

    def on_response_complete(self) -> None:
        """It is answered. The rest of an unwanted body has a moment to arrive, so that the client reads the answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._awaits_head:
            self._wait()
        else:
            self._unset_keepalive_if_required()
            self._deadline = self.loop.call_later(self._limits.linger_seconds, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless the connection is refused already."""
        if not self.transport.is_closing():
            self._shared.conditions.say(logging.INFO, msg, msg)
            super().send_400_response(msg)

    def refuse(self, problem: Problem | None = None) -> None:
        """End the connection, with an answer where something was sent that it answers."""
        self._no_longer_waits()
        if problem and not self.transport.is_closing():
            response = response_of(problem)
            head = [b"HTTP/1.1 %d " % response.status_code, *(b"%b: %b" % each for each in response.raw_headers)]
            self.transport.write(b"\r\n".join([*head, b"connection: close", b"", bytes(response.body)]))
        self.transport.close()

    def _refuse_head(self) -> None:
        self.refuse(HEAD_TOO_LARGE.problem(f"Send at most {self._limits.head_bytes} bytes of path and headers."))

    def _head_within(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_timeout_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        """A client that sent nothing gets no answer."""
        detail = f"The head of the request did not arrive within {self._limits.head_timeout_seconds:g} s."
        self.refuse(HEAD_TIMEOUT.problem(detail) if self._head_bytes else None)

    def _wait(self) -> None:
        self._shared.waiting.pop(self, None)
        self._shared.waiting[self] = None

    def _no_longer_waits(self) -> None:
        self._unset_deadline()
        self._shared.waiting.pop(self, None)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpServer(uvicorn.Server):
    """The HTTP server, whose signals are the process's and not its own. `leaving` is set once it takes no request. With
    `forwarded` the client of a request is the one that a proxy on this machine names (`X-Forwarded-For`)."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, limits: Limits, leaving: asyncio.Event, *, forwarded: bool = True
    ) -> None:
        self._connections = HttpConnections(limits)
        config = uvicorn.Config(
            app,
            http=functools.partial(HttpConnection, self._connections),  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=forwarded,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=limits.stop_seconds,
        )
        super().__init__(config)
        _forget_vanished(listener, limits.vanished_seconds)
        self.listener = listener
        self._leaving = leaving
        self._over = asyncio.Event()
        self.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    async def run_until_drained(self) -> None:
        """Serve, and say when all is answered."""
        try:
            await self.serve([self.listener])
        finally:
            self._over.set()

    async def drain(self, pause_seconds: float) -> None:
        """Go on for the pause, while whoever sends requests learns that this replica is not ready any more; each answer
        ends its connection. Then take none, and return when all are answered."""
        self._connections.is_leaving = True
        await asyncio.sleep(pause_seconds)
        self._leaving.set()
        self.should_exit = True
        await self._over.wait()
        self._connections.conditions.over()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, limits: Limits, leaving: asyncio.Event, *, forwarded: bool = True
) -> AsyncIterator[asyncio.Task[None]]:
    """`app`, served for the block, beside what else is done in it; then what was accepted is answered. Gives the task
    that serves, which ends before the block only where the server fails."""
    server = HttpServer(app, listener, limits, leaving, forwarded=forwarded)
    task = asyncio.create_task(server.run_until_drained(), name="HTTP")
    try:
        yield task
    finally:
        await server.drain(0)
        await task


def _forget_vanished(listener: socket.socket, seconds: int) -> None:
    """Let the system end a connection whose other side takes nothing for so long; each takes this from its listener."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1_000)


def listen(host: str, port: int, setting: str = "JETMESH_HTTP_PORT") -> socket.socket:
    """The socket that clients connect to; they wait there until they are served. `setting` is where the port is from.

    Raises:
        SettingsError: another process listens there, or it is no address of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError:
        raise SettingsError(f"settings: {setting}: {host}:{port} can't be listened on; choose another port") from None
