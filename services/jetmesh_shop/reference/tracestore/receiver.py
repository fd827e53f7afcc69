"""The receiver: OTLP over HTTP (protobuf, gzip too) on a loopback port, into the store and on to another receiver."""

import asyncio
import socket
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from jetmesh_shop.reference.tracestore.forward import GRPC_METHODS, Forwarder, Request, sender_to
from jetmesh_shop.reference.tracestore.lens import Malformed
from jetmesh_shop.reference.tracestore.store import SPANS_MAX, TraceWriter

BODY_BYTES_MAX = 64 * 1024 * 1024
"""Of one request, before and after decompression; exporters send some hundred kilobytes."""
PROTOBUF = "application/x-protobuf"
SHUTDOWN_TIMEOUT_SECONDS = 5

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Problem(Exception):
    """A request that is answered with a status and words, and not kept."""

    status: HTTPStatus
    reason: str


class Receiver:
    """The ASGI application: 200 means that the spans are in the store."""

    def __init__(self, writer: TraceWriter, forwarder: Forwarder | None = None) -> None:
        self._writer = writer
        self._forwarder = forwarder
        # SQLite waits for the disk: one thread of its own, so that requests can arrive meanwhile.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trace-writer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._take(await _request(scope, receive))
        except Problem as problem:
            await _answer(send, problem.status, Status(message=problem.reason).SerializeToString())
        else:
            await _answer(send, HTTPStatus.OK, b"")

    async def _take(self, request: Request) -> None:
        body = _plain(request)
        if request.path == "/v1/traces":
            try:
                compressed = request.body if request.gzipped else None
                await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.add, body, compressed)
            except Malformed as error:
                raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from error
            except sqlite3.Error as error:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"cannot be kept now: {error}") from error
        if self._forwarder:
            self._forwarder.offer(request)

    def close(self) -> None:
        """Waits for the last write."""
        self._thread.shutdown()
        self._writer.close()


async def _request(scope: Scope, receive: Receive) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1").lower() for name, value in scope["headers"]}
    if scope["path"] not in GRPC_METHODS:
        raise Problem(HTTPStatus.NOT_FOUND, f"no such path; there are {', '.join(GRPC_METHODS)}")
    if scope["method"] != "POST":
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "only POST")
    if not headers.get("content-type", "").startswith(PROTOBUF):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"only {PROTOBUF}")
    return Request(scope["path"], await _body(receive), _gzipped(headers))


def _gzipped(headers: Mapping[str, str]) -> bool:
    encoding = headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content-encoding {encoding!r}: only gzip")
    return encoding == "gzip"


async def _body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(HTTPStatus.BAD_REQUEST, "the client went away")
        part, more = message.get("body", b""), message.get("more_body", False)
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {BODY_BYTES_MAX} bytes")
    return b"".join(parts)


def _plain(request: Request) -> bytes:
    if not request.gzipped:
        return request.body
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = inflate.decompress(request.body, BODY_BYTES_MAX)
    except zlib.error as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"not gzip: {error}") from error
    if inflate.unconsumed_tail:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {BODY_BYTES_MAX} bytes uncompressed")
    if not inflate.eof:
        raise Problem(HTTPStatus.BAD_REQUEST, "not gzip: the end is missing")
    return body


async def _answer(send: Send, status: HTTPStatus, body: bytes) -> None:
    headers = [(b"content-type", PROTOBUF.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """uvicorn, except that whoever runs it hears when it listens, and keeps the signals for itself."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    path: Path,
    host: str,
    port: int,
    forward: str | None = None,
    ready: Callable[[str], None] | None = None,
    *,
    spans_max: int = SPANS_MAX,
) -> None:
    """Receives until cancelled. ``ready`` gets the endpoint (``http://host:port``) once it listens; port 0 is any free.

    Raises ``OSError`` where the port is taken, ``ValueError`` where ``forward`` is no OTLP endpoint.
    """
    listener = socket.create_server((host, port))
    endpoint = f"http://{host}:{listener.getsockname()[1]}"
    forwarder = Forwarder(sender_to(forward)) if forward else None
    receiver = Receiver(TraceWriter(path, spans_max), forwarder)
    if forwarder:
        forwarder.start()
    try:
        await _run(_Server(_config(receiver), lambda: ready and ready(endpoint)), listener)
    finally:
        receiver.close()
        if forwarder:
            await forwarder.close()


def _config(receiver: Receiver) -> uvicorn.Config:
    return uvicorn.Config(
        receiver,
        lifespan="off",
        interface="asgi3",
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS,
    )


async def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serves; when cancelled, ends the requests in flight first."""
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
