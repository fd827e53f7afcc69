"""Where the spans of a mesh are asked for: a Jaeger, or the store of the mesh that runs here."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel

from jetmesh import settings
from jetmesh.operate.jaeger import JaegerTraces
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord, Traces, UnreadableTraces

JAEGER_URL = "JETMESH_JAEGER_URL"


class StorySettings(BaseModel):
    """`JETMESH_JAEGER_URL`: the Jaeger that has the traces of a mesh elsewhere."""

    jaeger_url: str = ""


def traces(store: Path | None) -> Traces | None:
    """The Jaeger that the environment names, else the store of the mesh that runs here, if it has one; None without
    both.

    Raises:
        UnreadableTraces: the Jaeger's address is none.
    """
    if url := settings.read(StorySettings).jaeger_url:
        if not _is_http(url):
            raise UnreadableTraces(f"{JAEGER_URL}: {url!r} is not an address; write http://host:16686")
        return JaegerTraces(url)
    if store is None or not store.is_file():
        return None
    from jetmesh.operate.span_store import TraceStore

    return TraceStore(store)


def spans_about(found: Traces, key: str, events: Sequence[StoryEvent]) -> list[SpanRecord]:
    """The spans of the traces of a story, or of those that name its key.

    Raises:
        UnreadableTraces: they can't be read.
    """
    with closing(found):
        trace_ids = {event.trace_id for event in events if event.trace_id} or set(found.trace_ids_of(key))
        return [span for trace_id in sorted(trace_ids) for span in found.spans_of(trace_id)]


def _is_http(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False
