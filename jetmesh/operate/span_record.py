"""A span as a trace store returns it, and the interface of a trace store."""

from dataclasses import dataclass, field
from typing import Protocol

from jetmesh.telemetry.instruments import Attributes

CONVERSATION_ID = "messaging.message.conversation_id"
"""The attribute with the key, such as an order's id (OpenTelemetry messaging conventions)."""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """An event within a span, such as an exception."""

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
    """The traces can't be read; the text says where they should be and what to do."""


class Traces(Protocol):
    """Where spans can be asked for: the store that an app brings, or Jaeger. Raises UnreadableTraces."""

    def spans_of(self, trace_id: str) -> list[SpanRecord]:
        """The spans of a trace, by start; empty if the trace is not kept."""

    def trace_ids_of(self, conversation_id: str) -> list[str]:
        """The traces with a span about this conversation (an order's id): exactly one, unless something is wrong."""

    def close(self) -> None:
        """Let go of the file or the connection."""
