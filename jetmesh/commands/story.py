"""`jetmesh story`: prints the story of one key, each event and each attempt, as a tree."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

import click
from pydantic import BaseModel

from jetmesh import app as apps
from jetmesh import settings
from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import say, show
from jetmesh.local.state import StateFolder
from jetmesh.operate import timeline
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.jaeger import JaegerTraces
from jetmesh.operate.key_history import StoryEvent, whole
from jetmesh.operate.span_record import SpanRecord, Traces, UnreadableTraces
from jetmesh.service import Service

JAEGER_URL = "JETMESH_JAEGER_URL"
TRACES = "jetmesh.traces"
"""Entry points of an app: a function from the state folder to the traces that are stored there, or to None."""
NO_KEY = frozenset(" .*>\t\r\n")


class StorySettings(BaseModel):
    """`JETMESH_JAEGER_URL`: the Jaeger that has the traces of a mesh elsewhere."""

    jaeger_url: str = ""


def key_of(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """A key that is a valid last token of a subject: a wildcard would mean all keys."""
    if not text or set(text) & NO_KEY or text.encode(errors="replace").decode() != text:
        raise click.BadParameter(f"{text!r} is not a key: a key is UTF-8 without space, dot, * and >")
    return text


@click.command()
@click.argument("key", callback=key_of)
@options.app
@options.state
@options.archive
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def story(key: str, app: str, state: StateFolder, archive: Path | None, *, as_json: bool) -> None:
    """Print the story of a key: which reaction handled which event, when, for how long, and with which result.

    Against a mesh elsewhere (NATS_URL), spans come from the Jaeger that JETMESH_JAEGER_URL names.
    """
    print_story(apps.load(app), key, state, archive or state.archive, as_json=as_json)


def print_story(
    services: Sequence[Service], key: str, state: StateFolder, archive: Path, *, as_json: bool, name: str = "key"
) -> None:
    """Print it; `name` is what the app calls its key."""
    kept = Archive(archive) if archive.is_dir() else None
    events = asyncio.run(_events(services, key, state, kept))
    spans = _spans(key, events, state)
    if not events and not spans:
        raise click.ClickException(f"nothing is recorded about {key}")
    if as_json:
        listed = [{**asdict(event), "time": event.time.isoformat(), "trace_id": event.trace_id} for event in events]
        show({name: key, "events": listed, "spans": [asdict(span) for span in spans]})
        return
    if count := sum(event.archived for event in events):
        say(f"{count} of its {len(events)} events are from the archive in {archive}", dim=True)
    timeline.render(Console(), key, events, spans)


async def _events(
    services: Sequence[Service], key: str, state: StateFolder, archive: Archive | None
) -> list[StoryEvent]:
    async with reach_running(state) as mesh:
        return await whole(mesh, services, key, archive)


def _spans(key: str, events: Sequence[StoryEvent], state: StateFolder) -> list[SpanRecord]:
    """The spans of its traces: from Jaeger, else from the store of the app that runs here, else none."""
    found = _traces(state)
    if found is None:
        return []
    with closing(found):
        try:
            trace_ids = {event.trace_id for event in events if event.trace_id} or set(found.trace_ids_of(key))
            return [span for trace_id in sorted(trace_ids) for span in found.spans_of(trace_id)]
        except UnreadableTraces as unreadable:
            say(unreadable, fg="yellow", err=True)
        return []


def _traces(state: StateFolder) -> Traces | None:
    if url := settings.read(StorySettings).jaeger_url:
        if not _is_http(url):
            raise click.ClickException(f"{JAEGER_URL}: {url!r} is not an address; write http://host:16686")
        return JaegerTraces(url)
    if not state.is_held:
        return None
    opened = (point.load()(state.folder) for point in entry_points(group=TRACES))
    return next((found for found in opened if found is not None), None)


def _is_http(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False
