"""Log records over the same transport as the spans: the SDK collects and encodes them."""

import logging
from collections.abc import Sequence

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from jetmesh.telemetry.otlp import settings
from jetmesh.telemetry.otlp.settings import Signal
from jetmesh.telemetry.otlp.signals import Sender
from jetmesh.telemetry.otlp.variables import Environment

OWN_LOGGERS = ("jetmesh.otlp", "opentelemetry")
"""Log records about the export itself must not be exported: that would never end."""
_POINTERS = ("reaction", "key")
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


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
