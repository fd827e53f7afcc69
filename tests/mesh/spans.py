"""The spans of services at work, received by the real trace store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from jetmesh.operate.span_record import SpanRecord
from jetmesh.testing import until
from jetmesh_shop.reference.tracestore import TraceStore
from jetmesh_shop.reference.tracestore.receiver import serve


@asynccontextmanager
async def traced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A receiver that services started in the block export to; the file in which their spans are once they stopped."""
    path, urls = folder / "traces.sqlite", list[str]()
    receiving = asyncio.create_task(serve(path, "127.0.0.1", 0, None, urls.append))
    try:
        await until(lambda: urls, what="the receiver listens")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", urls[0].split()[-1])
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
        yield path
    finally:
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving


def spans_in(path: Path) -> list[SpanRecord]:
    """All of them, by start."""
    with TraceStore(path) as store:
        return sorted(store.spans(), key=lambda span: span.start_unix_nano)


def traces_about(path: Path, key: str) -> set[str]:
    """The traces in which anybody says that it is about this key."""
    with TraceStore(path) as store:
        return set(store.trace_ids_of(key))
