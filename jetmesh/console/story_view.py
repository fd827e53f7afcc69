"""`/mesh/story`: what was recorded about a key, by a type of event, or in a trace; and one message whole."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.console import body
from jetmesh.console.desk import Desk, desk_of
from jetmesh.console.waterfall import bars
from jetmesh.event import INTAKE
from jetmesh.jetstream.api import request as ask
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT
from jetmesh.local.state import StateFolder
from jetmesh.operate import span_source
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.dead_letters import DeadLetter, letter_of
from jetmesh.operate.key_history import StoryEvent, whole
from jetmesh.operate.span_record import SpanRecord, UnreadableTraces
from jetmesh.topology import partitions
from jetmesh.topology.names import DEAD_LETTERS, letters_about

SHOWN = 50
LOOKED_AT = 2_000
"""How far back each stream is looked through."""
NO_KEY = frozenset(" .*>\t\r\n")
PATTERNS = 100
"""How many subjects one question about letters names."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was looked for."""

    stream: str
    message: Stored


async def story(request: Request) -> Response:
    """The story of a key; else a list of messages to choose one from."""
    key = request.query_params.get("key", "").strip()
    return await _story(request, key) if key else await _list(request)


async def _story(request: Request, key: str) -> Response:
    desk = desk_of(request)
    if set(key) & NO_KEY or not key.isprintable():
        return desk.page(request, "story.html", key=key, bars=[], letters=[], note="", is_key=False, archived=0)
    archive = Archive(desk.places.archive) if desk.places.archive and desk.places.archive.is_dir() else None
    events = await whole(desk.link.context, desk.services, key, archive)
    spans, note = await asyncio.to_thread(_spans, desk, key, events)
    return desk.page(
        request, "story.html", key=key, bars=bars(events, spans), letters=await _letters(desk, events), note=note,
        is_key=True, archived=sum(event.archived for event in events),
    )  # fmt: skip


def _spans(desk: Desk, key: str, events: Sequence[StoryEvent]) -> tuple[list[SpanRecord], str]:
    """The spans, and why there are none."""
    try:
        state = desk.places.state
        found = span_source.traces(StateFolder(state).traces if state else None)
        if found is None:
            return [], "No spans are kept here: these are the events alone. JETMESH_JAEGER_URL names a Jaeger to ask."
        return span_source.spans_about(found, key, events), ""
    except UnreadableTraces as unreadable:
        return [], str(unreadable)


async def _letters(desk: Desk, events: Sequence[StoryEvent]) -> list[DeadLetter]:
    """The dead letters about these events."""
    services = [service.name for service in desk.services]
    patterns = [letters_about(name, event.stream, event.sequence) for event in events for name in services]
    found: list[Stored] = []
    for start in range(0, len(patterns), PATTERNS):
        found += await desk.link.context.direct_get.last(DEAD_LETTERS, patterns[start : start + PATTERNS])
    return [letter_of(message) for message in found]


async def _list(request: Request) -> Response:
    """The newest messages: of a type, of a trace, or of all."""
    desk = desk_of(request)
    wanted, trace = (request.query_params.get(name, "").strip() for name in ("type", "trace"))
    streams = _streams(desk, wanted)
    found, looked_at = await _newest(desk, streams)
    fitting = [hit for hit in found if _fits(hit.message, wanted, trace)]
    fitting.sort(key=lambda hit: hit.message.time, reverse=True)
    types = sorted({event.type for service in desk.services for event in service.records})
    return desk.page(
        request, "stories.html", hits=fitting[:SHOWN], wanted=wanted, trace=trace, looked_at=looked_at, types=types,
        count=len(fitting),
    )  # fmt: skip


def _fits(message: Stored, wanted: str, trace: str) -> bool:
    carried = message.headers.get(TRACEPARENT, "")
    return (not wanted or message.type == wanted) and (not trace or carried[3:35] == trace.lower())


def _streams(desk: Desk, wanted: str) -> list[str]:
    """The streams that may have it."""
    owners = [s for s in desk.services if s.records and (not wanted or wanted in {e.type for e in s.records})]
    split = desk.link.context.settings.split
    return [part for each in owners for part in partitions.names(each.stream, split)]


async def _newest(desk: Desk, streams: Iterable[str]) -> tuple[list[Hit], int]:
    """The newest messages of these streams, and how many were looked at."""
    pages = await asyncio.gather(*(_tail(desk, stream) for stream in streams))
    return [hit for page in pages for hit in page], sum(map(len, pages))


async def _tail(desk: Desk, stream: str) -> list[Hit]:
    context = desk.link.context
    info = await ask(context.connection, f"STREAM.INFO.{stream}")
    last, found = (info["state"]["last_seq"] if info else 0), list[Hit]()
    first = max(1, last - LOOKED_AT + 1)
    while first <= last:
        page = (await context.direct_get.page(stream, ">", first, 1_000)).messages
        if not page:
            break
        found += (Hit(stream, message) for message in page)
        first = page[-1].sequence + 1
    return found


async def message(request: Request) -> Response:
    """One message of a stream, whole."""
    desk = desk_of(request)
    stream, sequence = request.path_params["stream"], request.path_params["sequence"]
    if stream not in {INTAKE, *_streams(desk, "")}:
        raise HTTPException(404, f"The app has no stream of events {stream}.")
    page = await desk.link.context.direct_get.page(stream, ">", sequence, 1)
    found = next((each for each in page.messages if each.sequence == sequence), None)
    if found is None:
        raise HTTPException(404, f"{stream} has no message {sequence}; it may be archived, or removed.")
    sees, event_type = desk.access.sees_bodies(request.scope["user"]), desk.event_type(found.type)
    shown = body.shown(found.data, event_type) if sees else None
    return desk.page(
        request, "message.html", stream=stream, message=found, body=shown, event_type=event_type, sees_bodies=sees
    )


ROUTES = [Route("/mesh/story", story), Route("/mesh/messages/{stream}/{sequence:int}", message)]
