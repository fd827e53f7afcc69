"""Logs of a process: as text or JSON lines, each with its trace id."""

import logging
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

from opentelemetry import trace

from jetmesh.common.visible import LineFormatter, written
from jetmesh.telemetry.spans import CONVERSATION, Attempt

_POINTERS = ("service", "reaction", "key", "trace_id", "span_id")


def current_context() -> dict[str, str]:
    """The trace and the event's key of the attempt that this task works on; empty outside of one."""
    span = trace.get_current_span()
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    attributes = getattr(span, "attributes", None) or {}
    key, reaction = attributes.get(CONVERSATION, ""), attributes.get("jetmesh.reaction", "")
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "key": str(key),
        "reaction": str(reaction),
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the trace and the key of the event under work."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {**current_context(), **vars(record)}
        line.update({name: fields[name] for name in _POINTERS if fields.get(name)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return written(line)


def start_logs(service: str, form: str = "auto", level: str = "INFO") -> None:
    """Logs to standard error: JSON lines, or readable text on a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(LineFormatter())
    handler.addFilter(partial(_name_service, service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("nats", "aiosmtplib", "httpx", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _name_service(service: str, record: logging.LogRecord) -> bool:
    record.service = service
    return True


def log_context(attempt: Attempt | None, reaction: str, key: str) -> dict[str, str]:
    """`extra` of a log call, so that the line has the trace and the key."""
    fields = {"reaction": reaction, "key": key}
    if attempt is not None and attempt.context.is_valid:
        fields["trace_id"] = f"{attempt.context.trace_id:032x}"
        fields["span_id"] = f"{attempt.context.span_id:016x}"
    return fields
