"""A small trace store: an OTLP receiver that keeps the recent spans in one SQLite file, and how they are asked for."""

from jetmesh_shop.reference.tracestore.store import TraceStore, TraceWriter

__all__ = ["TraceStore", "TraceWriter"]
