"""The process that keeps a local mesh's spans: OTLP over HTTP in, one SQLite file, and on to where the user's own
telemetry goes: ``python -m jetmesh.local.span_receiver --path traces.sqlite --port 14318``."""

import asyncio
import contextlib
import logging
import socket
import sqlite3
import threading
import zlib
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import click
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common.ports import HOST
from jetmesh.common.terminal import say
from jetmesh.local.program import run
from jetmesh.operate.span_store import SPANS_MAX, MalformedSpans, TraceWriter
from jetmesh.telemetry.otlp.settings import Receiver, Signal
from jetmesh.telemetry.otlp.transport import ReceiverUnavailable, Rejected, connect, receivers
from jetmesh.telemetry.otlp.variables import PROCESS

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 64 * 1024 * 1024
"""Of one request, before and after decompression; exporters send some hundred kilobytes."""
WAITING_MAX = 200
PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX = 0.1, 10.0
CLOSE_SECONDS = 5
PROTOBUF = "application/x-protobuf"


class Forwarder:
    """Sends one signal's requests on to another receiver, in order, whether that one is up or not, and never lets who
    offers them wait: of what comes when ``waiting_max`` wait already, nothing is sent, and one warning says so."""

    def __init__(self, receiver: Receiver, waiting_max: int = WAITING_MAX) -> None:
        self.dropped = 0
        self._signal, self._waiting_max = receiver.signal.lower(), waiting_max
        self._room = threading.Semaphore(waiting_max + 1)  # and one that is sent
        self._closing = threading.Event()
        self._transport = connect(receiver)
        self._sender = ThreadPoolExecutor(1, f"forward-{self._signal}")

    def offer(self, body: bytes) -> None:
        """Queues the request, or drops it."""
        if self._room.acquire(blocking=False):
            self._sender.submit(self._send, body)
        else:
            self._drop(f"{self._waiting_max} requests wait already")

    def close(self) -> None:
        """Sends what waits, if the receiver takes it in time, and stops."""
        too_late = threading.Timer(CLOSE_SECONDS, self._closing.set)
        too_late.start()
        self._sender.shutdown()
        too_late.cancel()
        self._transport.close()

    def _send(self, body: bytes) -> None:
        pause_seconds = PAUSE_SECONDS_FIRST
        while not self._closing.is_set():
            try:
                self._transport.send(body)
                break
            except ReceiverUnavailable:
                self._closing.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
            except Rejected as refusal:
                self._drop(f"their receiver refuses them ({refusal})")
                break
        self._room.release()

    def _drop(self, reason: str) -> None:
        if not self.dropped:
            log.warning("%s are not all sent on: %s", self._signal, reason)
        self.dropped += 1


class TraceReceiver:
    """The routes of OTLP over HTTP: 200 means that the spans are in the store. Metrics and logs are only sent on."""

    def __init__(self, writer: TraceWriter, onward: Iterable[Receiver]) -> None:
        self._writer = writer
        self._writing = asyncio.Lock()
        self._onward = {each.signal: Forwarder(each) for each in onward}
        self.app = Starlette(routes=[Route(f"/v1/{each.lower()}", self._take, methods=["POST"]) for each in Signal])

    def close(self) -> None:
        """Waits for what is still to be sent on."""
        for forwarder in self._onward.values():
            forwarder.close()
        self._writer.close()

    async def _take(self, request: Request) -> Response:
        body = await _body(request)
        signal_of = Signal(request.url.path.rpartition("/")[2].upper())
        if signal_of is Signal.TRACES:
            await self._keep(body)
        if signal_of in self._onward:
            self._onward[signal_of].offer(body)
        return Response(media_type=PROTOBUF)

    async def _keep(self, body: bytes) -> None:
        try:
            async with self._writing:
                await run_in_threadpool(self._writer.add, body)
        except MalformedSpans as error:
            raise HTTPException(400, str(error)) from error
        except sqlite3.Error as error:
            raise HTTPException(503, f"cannot be kept now: {error}") from error


async def _body(request: Request) -> bytes:
    """The body, unzipped."""
    if not request.headers.get("content-type", "").startswith(PROTOBUF):
        raise HTTPException(415, f"only {PROTOBUF}")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise HTTPException(415, f"content-encoding {encoding!r}: only gzip")
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        try:
            body += inflate.decompress(chunk, BODY_BYTES_MAX + 1 - len(body)) if inflate else chunk
        except zlib.error as error:
            raise HTTPException(400, f"not gzip: {error}") from error
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"at most {BODY_BYTES_MAX} bytes")
    if inflate and not inflate.eof:
        raise HTTPException(400, "not gzip: the end is missing")
    return bytes(body)


@asynccontextmanager
async def receiving(
    path: Path, port: int = 0, onward: Iterable[Receiver] = (), *, spans_max: int = SPANS_MAX
) -> AsyncIterator[str]:
    """Receive for as long as the block runs; gives the endpoint. Port 0 takes any free one.

    Raises ``OSError`` where the port is taken, ``Damaged`` where the file is something else.
    """
    with socket.create_server((HOST, port)) as listener:
        receiver = TraceReceiver(TraceWriter(path, spans_max), onward)
        server = uvicorn.Server(
            uvicorn.Config(
                receiver.app, lifespan="off", ws="none", access_log=False, log_config=None,
                timeout_graceful_shutdown=CLOSE_SECONDS,
            )
        )  # fmt: skip
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
            await asyncio.to_thread(receiver.close)


async def _receive(path: Path, port: int, spans_max: int) -> None:
    async with receiving(path, port, receivers(PROCESS), spans_max=spans_max) as endpoint:
        say(endpoint)
        await asyncio.Event().wait()


@click.command()
@click.option("--path", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The SQLite file.")
@click.option("--port", default=4318, show_default=True, help="0 takes a free one.")
@click.option("--spans-max", default=SPANS_MAX, show_default=True, help="The oldest beyond this are removed.")
def main(path: Path, port: int, spans_max: int) -> None:
    """Receive OTLP over HTTP, keep the recent spans, send on what OTEL_EXPORTER_OTLP_… asks for; print the endpoint."""
    run(_receive(path, port, spans_max))


if __name__ == "__main__":
    main()
