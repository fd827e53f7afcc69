"""`jetmesh story`: prints the story of one key, each event and each attempt, as a tree."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import say, show
from jetmesh.local.state import StateFolder
from jetmesh.operate import span_source, timeline
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.key_history import StoryEvent, whole
from jetmesh.operate.span_record import SpanRecord, UnreadableTraces
from jetmesh.service import Service

NO_KEY = frozenset(" .*>\t\r\n")


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
    try:
        found = span_source.traces(state.traces if state.is_held else None)
    except UnreadableTraces as unreadable:
        raise click.ClickException(str(unreadable)) from None
    try:
        return span_source.spans_about(found, key, events) if found else []
    except UnreadableTraces as unreadable:
        say(unreadable, fg="yellow", err=True)
    return []
