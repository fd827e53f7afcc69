"""Metrics and logs over the same transport as the spans: the SDK collects and encodes them, `transport` sends them."""

import logging
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from jetmesh.telemetry.otlp import settings
from jetmesh.telemetry.otlp.settings import Signal
from jetmesh.telemetry.otlp.transport import OtlpTransport, ReceiverUnavailable, Rejected, connect
from jetmesh.telemetry.otlp.variables import Environment

_log = logging.getLogger(__name__)

OWN_LOGGERS = ("jetmesh.otlp", "opentelemetry")
"""Log records about the export itself must not be exported: that would never end."""

_PAUSE_SECONDS = 0.5
_POINTERS = ("reaction", "key")
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


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


class LogSender(LogRecordExporter):
    """Log records by OTLP."""

    def __init__(self, env: Environment) -> None:
        self._sender = Sender(env, Signal.LOGS)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Send a batch."""
        sent = self._sender.send(encode_logs(batch).SerializeToString())
        return LogRecordExportResult.SUCCESS if sent else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        """Stop."""
        self._sender.close()

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        """Nothing waits here."""
        return True


class LogHandler(logging.Handler):
    """Passes each log record to OpenTelemetry, with its trace."""

    def __init__(self, resource: Resource, env: Environment) -> None:
        super().__init__()
        batching = settings.log_batching(env)
        self._provider = LoggerProvider(resource, shutdown_on_exit=False)
        self._provider.add_log_record_processor(
            BatchLogRecordProcessor(
                LogSender(env),
                schedule_delay_millis=batching.delay_seconds * 1000,
                max_export_batch_size=batching.batch_max,
                max_queue_size=batching.queue_max,
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record, unless it is about the export itself."""
        if record.name.startswith(OWN_LOGGERS):
            return
        attributes = {name: str(value) for name in _POINTERS if (value := getattr(record, name, None))}
        self._provider.get_logger(record.name).emit(
            timestamp=int(record.created * 1e9),
            context=_pointed_to(record),
            severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
            severity_text={"WARNING": "WARN", "CRITICAL": "FATAL"}.get(record.levelname, record.levelname),
            body=record.getMessage(),
            attributes=attributes,
            exception=record.exc_info[1] if record.exc_info else None,
        )

    def close(self) -> None:
        """Send the queued records."""
        super().close()
        self._provider.shutdown()


def _pointed_to(record: logging.LogRecord) -> Context:
    """The trace that the record names, else that of the task that wrote it."""
    ids = getattr(record, "trace_id", ""), getattr(record, "span_id", "")
    if not all(ids):
        return get_current()
    span = NonRecordingSpan(SpanContext(int(ids[0], 16), int(ids[1], 16), False, TraceFlags(TraceFlags.SAMPLED)))
    return set_span_in_context(span)
