"""A small trace store: an OTLP receiver that keeps the recent spans in one SQLite file, and how they are asked for."""

from pathlib import Path

from jetmesh_shop.reference.tracestore.store import TraceStore, TraceWriter

__all__ = ["TraceStore", "TraceWriter", "kept_in"]


def kept_in(folder: Path) -> TraceStore | None:
    """The spans that the demo on this state folder keeps."""
    path = folder / "traces.sqlite"
    return TraceStore(path) if path.exists() else None
