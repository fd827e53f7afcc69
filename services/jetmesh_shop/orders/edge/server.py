"""The HTTP server under the edge: it bounds what a client may send before there is a request, and how long that may
take; told to stop, it answers what it has accepted."""

import asyncio
import contextlib
import functools
import logging
import socket
from asyncio import AbstractEventLoop, Transport
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from jetmesh import Conditions, SettingsError
from jetmesh_shop.orders.edge.limits import Limits
from jetmesh_shop.orders.edge.problems import CROWDED, HEAD_TIMEOUT, HEAD_TOO_LARGE, Problem, retry_later

log = logging.getLogger("jetmesh.edge")
http_log = logging.getLogger("jetmesh.edge.http")
http_log.setLevel(logging.ERROR)  # uvicorn warns of each request that is no HTTP


class Lounge:
    """The connections without a request under way, the one that waits longest first: it goes where there is no room.
    A request's head that comes slowly, or never, is no request yet."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.is_leaving = False
        self.conditions = Conditions(log)
        self._waiting: dict[Connection, None] = {}

    def enter(self, connection: "Connection") -> None:
        """The connection waits for (the rest of) a request, from now on."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def leave(self, connection: "Connection") -> None:
        """It has a request, or is gone."""
        self._waiting.pop(connection, None)

    def make_room(self, connections: int, newest: "Connection") -> None:
        """One connection has come: end another one, where that is one too many."""
        if connections <= self.limits.connections_max:
            return
        self.conditions.say(logging.WARNING, "crowded", f"{connections} connections: the one that idles longest ends")
        oldest = next((waiting for waiting in self._waiting if waiting is not newest), newest)
        oldest.refuse(retry_later(CROWDED, "Too many connections are open here.", 1))


class Connection(HttpToolsProtocol):
    """uvicorn's, which reads a head of any size for any time. httptools tells of a header once all of it is there, so
    that its bytes are counted as they come."""

    def __init__(
        self, lounge: Lounge, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self.logger = http_log
        self._lounge, self._limits = lounge, lounge.limits
        self._head_bytes = 0
        self._awaits_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client is there: it has so long to send the head of a request."""
        super().connection_made(transport)
        self._lounge.enter(self)
        self._head_within(self._limits.head_timeout_seconds)
        self._lounge.make_room(len(self.connections), self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._unset_deadline()
        self._lounge.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and count what belongs to a head that is not complete."""
        if self._awaits_head and self._deadline is None:
            self._head_within(self._limits.head_timeout_seconds)
        super().data_received(data)
        if self._awaits_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self.refuse(self._too_large)

    def on_headers_complete(self) -> None:
        """The head is there: a request begins."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self._limits.head_bytes:
            raise ValueError("the head is too large")
        self._unset_deadline()
        self._awaits_head, self._head_bytes = False, 0
        self._lounge.leave(self)
        super().on_headers_complete()
        if self._lounge.is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is there with its body; what follows is the next one's head."""
        super().on_message_complete()
        self._unset_deadline()
        self._awaits_head = True

    def on_response_complete(self) -> None:
        """It is answered. The rest of an unwanted body has a moment to arrive, so that the client reads the answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._awaits_head:
            self._lounge.enter(self)
        else:
            self._unset_keepalive_if_required()
            self._deadline = self.loop.call_later(self._limits.linger_seconds, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused; a head that is too large, by that name."""
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers or ()) > self._limits.head_bytes:
            self.refuse(self._too_large)
        elif not self.transport.is_closing():
            self._lounge.conditions.say(logging.INFO, msg, msg)
            super().send_400_response(msg)

    def refuse(self, problem: Problem | None = None) -> None:
        """End the connection, with an answer where there is one and something was sent that it answers."""
        self._lounge.leave(self)
        self._unset_deadline()
        if problem and not self.transport.is_closing():
            self.transport.write(_bytes(problem))
        self.transport.close()

    @property
    def _too_large(self) -> Problem:
        return Problem(HEAD_TOO_LARGE, f"Send at most {self._limits.head_bytes} bytes of path and headers.")

    def _head_within(self, seconds: float) -> None:
        self._unset_deadline()
        self._deadline = self.loop.call_later(seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        """A client that sent nothing gets no answer."""
        detail = f"The head of the request did not arrive within {self._limits.head_timeout_seconds:g} s."
        self.refuse(Problem(HEAD_TIMEOUT, detail) if self._head_bytes else None)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _bytes(problem: Problem) -> bytes:
    """The whole answer of a connection that ends with it."""
    response = problem.response()
    headers = [*response.raw_headers, (b"connection", b"close")]
    lines = [b"HTTP/1.1 %d " % response.status_code, *(b"%b: %b" % header for header in headers), b"", b""]
    return b"\r\n".join(lines) + bytes(response.body)


class Edge(uvicorn.Server):
    """The HTTP server, whose signals are the process's and not its own. `leaving` is set once it takes no request."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, limits: Limits, leaving: asyncio.Event, pause_seconds: float
    ) -> None:
        self._lounge = Lounge(limits)
        config = uvicorn.Config(
            app,
            host,
            port,
            http=functools.partial(Connection, self._lounge),  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=limits.stop_seconds,
        )
        super().__init__(config)
        self.up = asyncio.Event()
        self._leaving = leaving
        self._over = asyncio.Event()
        self._pause_seconds = pause_seconds
        self.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so.

        Raises:
            SettingsError: another process listens there.
        """
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn has logged why
            self._over.set()
            place = f"{self.config.host}:{self.config.port}"
            raise SettingsError(
                f"settings: JETMESH_HTTP_PORT: {place} can't be listened on; choose another port"
            ) from None
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is accepted, and say that it is done."""
        try:
            await super().shutdown(sockets)
        finally:
            self._over.set()

    async def drain(self) -> None:
        """Go on for the pause, while whoever sends requests learns that this replica is not ready any more; each answer
        ends its connection. Then take none, and return when all are answered."""
        self._lounge.is_leaving = True
        await asyncio.sleep(self._pause_seconds)
        self._leaving.set()
        self.should_exit = True
        await self._over.wait()
        self._lounge.conditions.over()
