"""One open connection to an OTLP receiver, by HTTP or gRPC, for any of the three signals."""

import gzip
import ssl
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, urlsplit

from jetmesh.common.extras import MissingExtra, brought_by
from jetmesh.telemetry.otlp import settings
from jetmesh.telemetry.otlp.settings import GRPC, Receiver, Signal, TlsFiles, basic_authentication
from jetmesh.telemetry.otlp.variables import Environment, SettingError

if TYPE_CHECKING:
    import grpc

_RETRYABLE_HTTP = frozenset({429, 502, 503, 504})
_RETRYABLE_GRPC = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_GZIP_LEVEL = 1  # spans are repetitive: higher levels cost three times as much and save a tenth of the size
_EXPORT_METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}


_ALSO_READ: Mapping[Signal, Sequence[Callable[[Environment], object]]] = {
    Signal.TRACES: (settings.resource, settings.sampler, settings.batching),
    Signal.METRICS: (settings.resource, settings.metric_interval_seconds),
    Signal.LOGS: (settings.resource, settings.log_batching),
}


class ReceiverUnavailable(Exception):
    """The receiver cannot accept the request now; it may be sent again after a pause."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.0):
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class Rejected(Exception):
    """The receiver will never accept this request."""


class OtlpTransport(Protocol):
    """Sends one encoded request of the receiver's signal (`ExportTraceServiceRequest`, …); used by one thread."""

    def send(self, request: bytes) -> None:
        """Return when the receiver has accepted it. Raises ReceiverUnavailable, Rejected."""

    def close(self) -> None: ...


def receivers(env: Environment) -> list[Receiver]:
    """The receivers of the exported signals, after a check of all settings of the export. Raises SettingError."""
    found = [settings.receiver(env, signal) for signal in Signal if settings.has_receiver(env, signal)]
    for each in found:
        connect(each).close()
        for read in _ALSO_READ[each.signal]:
            read(env)
    return found


def connect(receiver: Receiver) -> OtlpTransport:
    """The transport for the receiver's protocol; it connects with the first request. Raises SettingError."""
    return GrpcTransport(receiver) if receiver.protocol == GRPC else HttpTransport(receiver)


class HttpTransport:
    """OTLP/HTTP with binary protobuf."""

    def __init__(self, receiver: Receiver):
        self._gzip = receiver.gzip
        self._target = _target(receiver)
        self._headers = {"Content-Type": "application/x-protobuf", **receiver.headers}
        if receiver.proxy and receiver.url.scheme == "http":
            self._headers.update(_to_proxy(urlsplit(receiver.proxy)))
        if receiver.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._connection = _http_connection(receiver)

    def send(self, request: bytes) -> None:
        body = gzip.compress(request, _GZIP_LEVEL) if self._gzip else request
        try:
            self._connection.request("POST", self._target, body, self._headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise ReceiverUnavailable(f"{type(error).__name__}: {error}") from error
        if response.status in _RETRYABLE_HTTP:
            raise ReceiverUnavailable(f"HTTP {response.status}", _seconds(response.getheader("Retry-After")))
        if not 200 <= response.status < 300:
            raise Rejected(f"HTTP {response.status} {response.reason}")

    def close(self) -> None:
        self._connection.close()


class GrpcTransport:
    """OTLP/gRPC; requests are encoded already, so the channel has no serializer."""

    def __init__(self, receiver: Receiver):
        try:
            with brought_by("grpc", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"):
                import grpc
        except MissingExtra as missing:
            raise SettingError(str(missing)) from None
        self._error = grpc.RpcError
        self._timeout_seconds = receiver.timeout_seconds
        self._headers = tuple((name.lower(), value) for name, value in receiver.headers.items())
        self._compression = grpc.Compression.Gzip if receiver.gzip else grpc.Compression.NoCompression
        self._channel = _grpc_channel(receiver)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            _EXPORT_METHODS[receiver.signal]
        )

    def send(self, request: bytes) -> None:
        try:
            self._export(request, timeout=self._timeout_seconds, metadata=self._headers, compression=self._compression)
        except self._error as error:
            reason = f"gRPC {error.code().name}: {error.details()}"
            raise (ReceiverUnavailable if error.code().name in _RETRYABLE_GRPC else Rejected)(reason) from error

    def close(self) -> None:
        self._channel.close()


def _target(receiver: Receiver) -> str:
    """The target of the request line: the path, or the whole URL for a proxy."""
    if receiver.proxy and receiver.url.scheme == "http":
        return receiver.url._replace(fragment="").geturl()
    return receiver.url._replace(scheme="", netloc="", fragment="").geturl()


def _http_connection(receiver: Receiver) -> HTTPConnection:
    """A connection to the receiver, or to the proxy: as a tunnel, if the receiver uses TLS."""
    url, timeout_seconds = receiver.url, receiver.timeout_seconds
    if url.scheme == "http":
        return HTTPConnection(*receiver.next_hop, timeout=timeout_seconds)
    connection = HTTPSConnection(*receiver.next_hop, timeout=timeout_seconds, context=_tls_context(receiver))
    if receiver.proxy:
        connection.set_tunnel(url.hostname or "", url.port or 443, _to_proxy(urlsplit(receiver.proxy)))
    return connection


def _to_proxy(proxy: SplitResult) -> dict[str, str]:
    return {} if proxy.username is None else {"Proxy-Authorization": basic_authentication(proxy)}


def _tls_context(receiver: Receiver) -> ssl.SSLContext:
    files = receiver.tls
    try:
        context = ssl.create_default_context(cafile=files.certificate or None)
        if files.client_certificate:
            context.load_cert_chain(files.client_certificate, files.client_key or None)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(_unreadable(receiver.signal, files, error)) from None
    return context


def _unreadable(signal: Signal, files: TlsFiles, error: Exception) -> str:
    named = ", ".join(file for file in (files.certificate, files.client_certificate, files.client_key) if file)
    return f"OTEL_EXPORTER_OTLP_{{{signal}_,}}{{CERTIFICATE,CLIENT_CERTIFICATE,CLIENT_KEY}}: {named}: {error}"


def _grpc_channel(receiver: Receiver) -> "grpc.Channel":
    import grpc

    target = receiver.url.netloc
    proxy = ("grpc.http_proxy", receiver.proxy) if receiver.proxy else ("grpc.enable_http_proxy", 0)
    if receiver.url.scheme == "http":
        return grpc.insecure_channel(target, [proxy])
    _tls_context(receiver)
    tls = receiver.tls
    files = (tls.certificate, tls.client_key or tls.client_certificate, tls.client_certificate)
    pem = [Path(file).read_bytes() if file else None for file in files]
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(*pem), [proxy])


def _seconds(retry_after: str | None) -> float:
    """The seconds of Retry-After; for its other form, a date, the sender's own back-off is used."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
