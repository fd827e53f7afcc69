"""The tee: every request goes on unchanged to another OTLP receiver, whether that one is up or not."""

import asyncio
import gzip
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import grpc
import grpc.aio
import httpx
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_HEADERS
from opentelemetry.util.re import parse_env_headers

from jetmesh.telemetry.otlp.variables import PROCESS, text

log = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 64 * 1024 * 1024
BACKOFF_SECONDS_FIRST = 0.1
BACKOFF_SECONDS_MAX = 10.0
SEND_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 5.0

GRPC_PORT = 4317
GRPC_METHODS = {
    "/v1/traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/v1/metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/v1/logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
PASSING_HTTP = {429, 502, 503, 504}
PASSING_GRPC = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
}
"""What the OTLP specification lets a client send again (https://opentelemetry.io/docs/specs/otlp/)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One OTLP request as it came: path (``/v1/traces``), body, and whether the body is compressed with gzip."""

    path: str
    body: bytes
    gzipped: bool = False


class Unavailable(Exception):
    """The receiver cannot take it now; the same request may be sent again."""


class Refused(Exception):
    """The receiver will never take this request."""


class Sender(Protocol):
    """One way to send a request on; raises ``Unavailable`` or ``Refused``."""

    async def send(self, request: Request) -> None: ...

    async def close(self) -> None: ...


class HttpSender:
    """OTLP over HTTP with protobuf bodies, under ``endpoint`` (http://host:4318)."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        self._client = httpx.AsyncClient(
            base_url=endpoint, headers=dict(headers), timeout=SEND_TIMEOUT_SECONDS, trust_env=False
        )

    async def send(self, request: Request) -> None:
        headers = {"content-type": "application/x-protobuf"} | ({"content-encoding": "gzip"} if request.gzipped else {})
        try:
            response = await self._client.post(request.path, content=request.body, headers=headers)
        except httpx.RequestError as error:
            raise Unavailable(str(error) or type(error).__name__) from error
        if response.status_code in PASSING_HTTP:
            raise Unavailable(f"status {response.status_code}")
        if not response.is_success:
            raise Refused(f"status {response.status_code}")

    async def close(self) -> None:
        await self._client.aclose()


class GrpcSender:
    """OTLP over gRPC to ``target`` (host:port); bodies are sent as they are, nothing is encoded again."""

    def __init__(self, target: str, headers: Mapping[str, str], secure: bool = False) -> None:
        self._channel = (
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials())
            if secure
            else grpc.aio.insecure_channel(target)
        )
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {
            path: self._channel.unary_unary(method) for path, method in GRPC_METHODS.items()
        }

    async def send(self, request: Request) -> None:
        body = gzip.decompress(request.body) if request.gzipped else request.body
        try:
            await self._calls[request.path](body, timeout=SEND_TIMEOUT_SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            kind = Unavailable if error.code() in PASSING_GRPC else Refused
            raise kind(f"{error.code().name}: {error.details()}") from error

    async def close(self) -> None:
        await self._channel.close()


def sender_to(endpoint: str) -> Sender:
    """gRPC for ``grpc://host:port``, ``host:port`` and port 4317, HTTP for every other http(s) address.

    Sends ``OTEL_EXPORTER_OTLP_HEADERS`` with each request. Raises ``ValueError`` for what is no such address.
    """
    address = urlsplit(endpoint if "://" in endpoint else f"grpc://{endpoint}")
    if address.scheme not in ("grpc", "http", "https") or not address.hostname:
        raise ValueError(f"not an OTLP endpoint: {endpoint!r}; write http://host:4318 or grpc://host:4317")
    headers = parse_env_headers(text(PROCESS, OTEL_EXPORTER_OTLP_HEADERS), liberal=True)
    if address.scheme == "grpc" or address.port == GRPC_PORT:
        target = f"{address.hostname}:{address.port or GRPC_PORT}"
        return GrpcSender(target, headers, secure=address.scheme == "https")
    return HttpSender(endpoint, headers)


@dataclass
class Forwarder:
    """Sends requests on in the background, in order, with back-off for as long as the receiver is away.

    ``offer`` never waits: what no longer fits into the queue (``queue_bytes_max``) is dropped and counted in
    ``dropped``, with one warning for each outage.
    """

    sender: Sender
    queue_bytes_max: int = QUEUE_BYTES_MAX
    sent: int = 0
    dropped: int = 0
    _queue: asyncio.Queue[Request] = field(default_factory=asyncio.Queue)
    _queued_bytes: int = 0
    _troubled: bool = False
    _sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to send; call it inside the event loop."""
        self._sending = asyncio.create_task(self._send_all())

    def offer(self, request: Request) -> None:
        """Queues the request, or drops it."""
        if self._queued_bytes + len(request.body) > self.queue_bytes_max:
            self._drop("the queue is full")
            return
        self._queued_bytes += len(request.body)
        self._queue.put_nowait(request)

    async def close(self, timeout_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Sends what is queued if the receiver takes it in time, and stops."""
        try:
            await asyncio.wait_for(self._queue.join(), timeout_seconds)
        except TimeoutError:
            # One is being tried, the others wait behind it.
            log.warning("stopped with %d requests not forwarded", self._queue.qsize() + 1)
        if self._sending:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
        await self.sender.close()

    async def _send_all(self) -> None:
        while True:
            request = await self._queue.get()
            await self._send(request)
            self._queued_bytes -= len(request.body)
            self._queue.task_done()

    async def _send(self, request: Request) -> None:
        pause_seconds = BACKOFF_SECONDS_FIRST
        while True:
            try:
                await self.sender.send(request)
            except Unavailable:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, BACKOFF_SECONDS_MAX)
            except Refused as refusal:
                return self._drop(f"it was refused ({refusal})")
            else:
                return self._note_sent()

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        if not self._troubled:
            log.warning("telemetry is not forwarded: %s; the number dropped follows once it works again", reason)
        self._troubled = True

    def _note_sent(self) -> None:
        self.sent += 1
        if self._troubled:
            log.warning("telemetry is forwarded again; %d requests were dropped so far", self.dropped)
        self._troubled = False
