"""A small trace store: an OTLP receiver that keeps the recent spans in one SQLite file, and how they are asked for."""

from jetmesh.operate.span_record import SpanEvent, SpanLink, SpanRecord, Traces
from jetmesh.tracestore.store import TraceStore, TraceWriter

__all__ = ["SpanEvent", "SpanLink", "SpanRecord", "TraceStore", "TraceWriter", "Traces"]
