"""`jetmesh order`: the story of one order, each event and each attempt, as a tree."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click
import httpx
from pydantic import BaseModel

from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import say, show
from jetmesh.local.state import State
from jetmesh.operate import timeline
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.span_record import SpanRecord
from jetmesh.settings import read
from jetmesh.topology.provision import check_split, histories
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.state import Stores
from jetmesh_shop.reference.stories import StoryEvent, archived, story
from jetmesh_shop.reference.tracestore.jaeger import JaegerTraces
from jetmesh_shop.reference.tracestore.store import Damaged, TraceStore

JAEGER_URL = "JETMESH_JAEGER_URL"


class Elsewhere(BaseModel):
    """Where the traces of a mesh elsewhere are."""

    jaeger_url: str = ""


NO_KEY = frozenset(" .*>\t\r\n")


def _key(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """What may be the last token of a subject: a wildcard there would be all orders."""
    if not text or set(text) & NO_KEY or text.encode(errors="replace").decode() != text:
        raise click.BadParameter(f"{text!r} is no key of an order: that is UTF-8 without space, dot, * and >")
    return text


@click.command()
@click.argument("order_id", metavar="ID", callback=_key)
@options.state
@options.archive
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def order(order_id: str, state: State, archive: Path | None, *, as_json: bool) -> None:
    """Print the story of an order: who reacted to what, when, for how long, and how it ended.

    Against a mesh elsewhere (NATS_URL), spans come from the Jaeger that JETMESH_JAEGER_URL names.
    """
    kept = archive or state.archive
    events = asyncio.run(_events(order_id, state, Archive(kept)))
    spans = _spans(order_id, events, state)
    if not events and not spans:
        raise click.ClickException(f"no order {order_id}: nothing is recorded about it")
    if as_json:
        show(_document(order_id, events, spans))
    else:
        if count := sum(event.archived for event in events):
            say(f"{count} of its {len(events)} events are from the archive in {kept}", dim=True)
        timeline.render(Console(), order_id, events, spans)


async def _events(order_id: str, state: State, archive: Archive) -> list[StoryEvent]:
    """What the streams hold, and what has left them."""
    async with reach_running(state) as mesh:
        split = mesh.settings.split
        needed = topology(SERVICES, split=split)
        await check_split(mesh.connection, needed)
        archive.follow(await histories(mesh.connection, [stream.name for stream in needed.streams]))
        here = await story(mesh, order_id)
    events = {(event.stream, event.sequence): event for event in here}
    for event in archived(archive, order_id, split):
        place = event.stream, event.sequence
        if place not in events or not events[place].id:  # all that a marker knows of it is its type and its time
            events[place] = event
    return sorted(events.values(), key=lambda event: (event.time, event.type))


def _spans(order_id: str, events: Sequence[StoryEvent], state: State) -> list[SpanRecord]:
    """The spans of the order's traces: from the demo's own store, from Jaeger, or none."""
    traces: TraceStore | JaegerTraces
    if url := read(Elsewhere).jaeger_url:
        traces = _jaeger(url)
    elif state.is_held and Stores.of(state).traces.exists():
        traces = TraceStore(Stores.of(state).traces)
    else:
        return []
    with closing(traces):
        try:
            trace_ids = {event.trace_id for event in events if event.trace_id} or set(traces.trace_ids_of(order_id))
            return [span for trace_id in sorted(trace_ids) for span in traces.spans_of(trace_id)]
        except Damaged as damaged:
            say(damaged, fg="yellow", err=True)
            return []
        except httpx.HTTPError as error:
            say(f"{JAEGER_URL}: no spans of Jaeger at {url}: {error}", fg="yellow", err=True)
            return []


def _jaeger(url: str) -> JaegerTraces:
    try:
        return JaegerTraces(url)
    except httpx.InvalidURL as wrong:
        raise click.ClickException(f"{JAEGER_URL}: {url} is no address ({wrong}); write http://host:16686") from None


def _document(order_id: str, events: Sequence[StoryEvent], spans: Sequence[SpanRecord]) -> dict[str, object]:
    told = [{**asdict(event), "time": event.time.isoformat(), "trace_id": event.trace_id} for event in events]
    return {"order_id": order_id, "events": told, "spans": [asdict(span) for span in spans]}
