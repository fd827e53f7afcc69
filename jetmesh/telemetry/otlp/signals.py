"""Metrics over the same transport as the spans (`transport`): the SDK collects and encodes them."""

import logging
from time import monotonic, sleep
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from jetmesh.telemetry.otlp import settings
from jetmesh.telemetry.otlp.settings import Signal
from jetmesh.telemetry.otlp.transport import OtlpTransport, ReceiverUnavailable, Rejected, connect
from jetmesh.telemetry.otlp.variables import Environment

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.5


class Sender:
    """Sends the requests of one signal and retries each until its time is up; logs one line per outage and recovery."""

    def __init__(self, env: Environment, signal: Signal) -> None:
        receiver = settings.receiver(env, signal)
        self._signal = signal.lower()
        self._transport: OtlpTransport = connect(receiver)
        self._timeout_seconds = receiver.timeout_seconds
        self._outage = False
        self._closed = False

    def send(self, request: bytes) -> bool:
        """True once the receiver has accepted the request."""
        deadline = monotonic() + self._timeout_seconds
        while not self._closed:
            try:
                self._transport.send(request)
            except Rejected as error:
                _log.error("%s are rejected by their receiver: %s", self._signal, error)
                return False
            except ReceiverUnavailable as error:
                self._report(error)
                pause_seconds = max(_PAUSE_SECONDS, error.retry_after_seconds)
                if monotonic() + pause_seconds > deadline:
                    return False
                sleep(pause_seconds)
            else:
                self._report(None)
                return True
        return False

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        self._transport.close()

    def _report(self, error: ReceiverUnavailable | None) -> None:
        if error is not None and not self._outage:
            _log.warning("%s are lost, their receiver is unavailable: %s", self._signal, error)
        elif error is None and self._outage:
            _log.warning("%s are exported again", self._signal)
        self._outage = error is not None


class MetricSender(MetricExporter):
    """Metrics by OTLP. A request that fails loses nothing: the values are cumulative, and the next one has them."""

    def __init__(self, env: Environment) -> None:
        super().__init__()
        self._sender = Sender(env, Signal.METRICS)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Send the collected metrics."""
        sent = self._sender.send(encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Stop."""
        self._sender.close()
