"""A span as it is read back, wherever it is kept, and the two questions a trace store answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

CONVERSATION_ID = "messaging.message.conversation_id"
"""The attribute that holds the key of a story, an order's id (OpenTelemetry messaging conventions)."""

Attributes = Mapping[str, Any]
"""OTLP values as Python has them: str, bool, int, float, bytes, None, and lists and dicts of these."""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span, an exception for instance."""

    name: str
    time_unix_nano: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one refers to without being its child."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One ended span.

    Ids are lower-case hexadecimal; ``parent_id`` is empty for a root. ``kind`` is one of internal, server, client,
    producer, consumer, unspecified; ``status`` one of unset, ok, error.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    start_unix_nano: int
    end_unix_nano: int
    status: str = "unset"
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()
    events: tuple[SpanEvent, ...] = ()


class UnreadableTraces(ValueError):
    """What is there are no traces, or nobody answers; the text says where it is and what to do."""


class Traces(Protocol):
    """Where spans can be asked for: the small store of the demo, or Jaeger. Raises UnreadableTraces."""

    def spans_of(self, trace_id: str) -> list[SpanRecord]:
        """Every span of the trace, by start; empty for a trace that is not (or no longer) kept."""

    def trace_ids_of(self, conversation_id: str) -> list[str]:
        """The traces with a span about this conversation (an order's id); a healthy order has exactly one."""

    def close(self) -> None:
        """Let go of the file or the connection."""
