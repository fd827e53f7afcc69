"""Where the spans of a mesh are asked for: a Jaeger, or the store of the mesh that runs here."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel

from jetmesh import settings
from jetmesh.common.extras import brought_by
from jetmesh.operate.jaeger import JaegerTraces
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord, Traces, UnreadableTraces

JAEGER_URL = "JETMESH_JAEGER_URL"
FILE = "traces.sqlite"
"""The name of the store in the state folder."""


class StorySettings(BaseModel):
    """`JETMESH_JAEGER_URL`: the Jaeger that has the traces of a mesh elsewhere."""

    jaeger_url: str = ""


def traces(folder: Path | None) -> Traces | None:
    """The Jaeger that the environment names, else the store of the mesh that runs on the folder; None without both.

    Raises:
        UnreadableTraces: the Jaeger's address is none.
    """
    if url := settings.read(StorySettings).jaeger_url:
        if not _is_http(url):
            raise UnreadableTraces(f"{JAEGER_URL}: {url!r} is not an address; write http://host:16686")
        return JaegerTraces(url)
    if folder is None or not (folder / FILE).is_file():
        return None
    with brought_by("traces", "reading kept spans"):
        from jetmesh.operate.span_store import TraceStore
    return TraceStore(folder / FILE)


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
