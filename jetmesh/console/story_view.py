"""`/mesh/story`: what was recorded about a key; and one message whole."""

import asyncio
import logging
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common.visible import visible
from jetmesh.console import body, search_view
from jetmesh.console.body import ShownBody
from jetmesh.console.contracts_view import described, fields_of
from jetmesh.console.desk import Desk, desk_of
from jetmesh.console.effects import KeyStory, SideEffect
from jetmesh.console.unhandled import unhandled
from jetmesh.console.waterfall import bars
from jetmesh.event import INTAKE
from jetmesh.jetstream.api import request as ask
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.subject import is_marker
from jetmesh.operate import span_source
from jetmesh.operate.dead_letters import DeadLetter, letter_of
from jetmesh.operate.foreign_messages import DecodedMessage, ForeignMessages, archived_of_others, events_of_others
from jetmesh.operate.key_history import StoryEvent, whole
from jetmesh.operate.span_record import SpanRecord, UnreadableTraces
from jetmesh.topology.names import DEAD_LETTERS, letters_about

log = logging.getLogger("jetmesh.console")

NO_KEY = frozenset(" .*>\t\r\n")
TRACES = 5
"""So many traces of a story are named."""
PATTERNS = 100
"""How many subjects one question about letters names."""


async def story(request: Request) -> Response:
    """The story of a key; else a search for messages."""
    key = request.query_params.get("key", "").strip()
    return await _story(request, key) if key else await search_view.searched(request)


async def _story(request: Request, key: str) -> Response:
    desk = desk_of(request)
    if set(key) & NO_KEY or not key.isprintable():
        return desk.page(
            request, "story.html", key=key, bars=[], letters=[], notes=[], away=[], is_key=False, archived=0
        )
    away = await _away(desk)
    events = await _events(desk, key, away)
    spans, note = await asyncio.to_thread(_spans, desk, key, events)
    effects, trouble = await effects_of(desk, key, events)
    names = [service.name for service in desk.services]
    return desk.page(
        request, "story.html", key=key, bars=bars(events, spans, effects, names), letters=await _letters(desk, events),
        notes=[each for each in (note, trouble) if each],
        unhandled=await unhandled(desk, events, spans), is_key=True, away=away,
        archived=sum(event.archived for event in events), events=events,
        traces=sorted({event.trace_id for event in events if event.trace_id})[:TRACES],
    )  # fmt: skip


async def _away(desk: Desk) -> list[str]:
    """The streams that a story is read from and that are not there."""
    names = search_view.read_streams(desk)
    infos = await asyncio.gather(*(ask(desk.link.context.connection, f"STREAM.INFO.{name}") for name in names))
    return [name for name, info in zip(names, infos, strict=True) if info is None]


async def _events(desk: Desk, key: str, away: Sequence[str]) -> list[StoryEvent]:
    """What the app recorded about a key, and what it reads of others."""
    context = desk.link.context
    archive = await search_view.archive_of(desk, [INTAKE, *search_view.read_streams(desk)])
    kept = archived_of_others(archive, desk.services, key, context.settings.split) if archive else []
    others = {(each.stream, each.sequence): each for each in kept}
    own = await whole(context, desk.services, key, archive)
    others |= {(each.stream, each.sequence): each for each in await events_of_others(context, desk.services, key, away)}
    return sorted([*own, *others.values()], key=lambda each: each.time)


def _spans(desk: Desk, key: str, events: Sequence[StoryEvent]) -> tuple[list[SpanRecord], str]:
    """The spans, and why there are none."""
    try:
        found = span_source.traces(desk.places.traces)
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


async def effects_of(desk: Desk, key: str, events: Sequence[StoryEvent]) -> tuple[list[SideEffect], str]:
    """What the app did outside about a key, and why that is not known."""
    if not desk.effects or not events:
        return [], ""
    wanted = {name for each in desk.effects for name in each.reads}
    places = [(each.type, each.stream, each.sequence) for each in events if each.type in wanted]
    messages = await asyncio.gather(*(stored_at(desk, stream, sequence) for _, stream, sequence in places))
    found = zip(places, messages, strict=True)
    bodies = {name: message.document for (name, _, _), (message, _) in found if message}
    story = KeyStory(key, events, bodies, desk.places.state)
    try:
        return [effect for each in desk.effects for effect in await asyncio.to_thread(each.of, story)], ""
    except Exception:  # the app's own code
        log.exception("the side effects of %s can't be told", visible(key))
        return [], "What the app did outside can't be told: the reason is in the console's log."


async def stored_at(desk: Desk, stream: str, sequence: int) -> tuple[Stored | None, bool]:
    """A message of a stream, and whether it is from the archive."""
    page = await desk.link.context.direct_get.page(stream, ">", sequence, 1)
    found = next((each for each in page.messages if each.sequence == sequence), None)
    if found is not None and not is_marker(found.subject):
        return found, False
    archive = await search_view.archive_of(desk, [stream])
    row = await asyncio.to_thread(archive.at, stream, sequence) if archive else None
    return (row.stored(), True) if row else (found, False)


async def message(request: Request) -> Response:
    """One message of a stream, whole."""
    desk = desk_of(request)
    stream, sequence = request.path_params["stream"], request.path_params["sequence"]
    if stream not in {INTAKE, *search_view.read_streams(desk)}:
        raise HTTPException(404, f"The app has no stream {stream}, and reads none of this name.")
    if await ask(desk.link.context.connection, f"STREAM.INFO.{stream}") is None:
        raise HTTPException(404, f"The stream {stream} is not on the broker: run `jetmesh topology apply`.")
    found, is_archived = await stored_at(desk, stream, sequence)
    if found is None:
        raise HTTPException(404, f"{stream} has no message {sequence}, and the archive has none; it may be removed.")
    if not search_view.shows(desk, stream, found.subject):
        raise HTTPException(404, f"The app does not read {found.subject} of {stream}.")
    decoded = list(ForeignMessages(desk.services).decoded(stream, found))
    event_type = None if decoded else desk.event_type(found.type)
    shown = await asyncio.to_thread(body.shown, found.data, event_type) if desk.sees_bodies(request) else None
    return desk.page(
        request, "message.html", stream=stream, message=found, body=shown, event_type=event_type,
        is_archived=is_archived, fields=fields_of(desk, found.type), described=described,
        decoded=[(each, _event_of(each)) for each in decoded],
    )  # fmt: skip


def _event_of(decoded: DecodedMessage) -> ShownBody | None:
    """The body of the event that a reaction makes of a foreign message."""
    return body.shown(decoded.event.model_dump_json().encode()) if decoded.event else None


ROUTES = [Route("/mesh/story", story), Route("/mesh/messages/{stream}/{sequence:int}", message)]
