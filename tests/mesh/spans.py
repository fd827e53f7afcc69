"""The spans of services at work, received by the real trace store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jetmesh.local.span_receiver import receiving
from jetmesh.operate.span_record import SpanRecord
from jetmesh.operate.span_store import TraceStore


@asynccontextmanager
async def traced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A receiver that services started in the block export to; the file in which their spans are once they stopped."""
    path = folder / "traces.sqlite"
    async with receiving(path) as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
        yield path


def spans_in(path: Path) -> list[SpanRecord]:
    """All of them, by start."""
    with TraceStore(path) as store:
        return sorted(store.spans(), key=lambda span: span.start_unix_nano)


def traces_about(path: Path, key: str) -> set[str]:
    """The traces in which anybody says that it is about this key."""
    with TraceStore(path) as store:
        return set(store.trace_ids_of(key))
