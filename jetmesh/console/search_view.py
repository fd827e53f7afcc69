"""`/mesh/story` without a key: messages by type, key, header, field of the body, trace and time, in streams, dead
letters and archive. A search is an address; what it did not look at yet, it says."""

import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from jetmesh.console.access import NotAllowed
from jetmesh.console.desk import Desk, desk_of
from jetmesh.event import INTAKE
from jetmesh.jetstream.direct_get import Stored, reading
from jetmesh.jetstream.subject import Subject, covers
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive_place import ArchivePlace
from jetmesh.operate.foreign_messages import ForeignMessages, read_of_others
from jetmesh.operate.json_path import Condition, WrongPath
from jetmesh.operate.message_search import (
    About,
    SearchPart,
    SearchPlace,
    StreamPlace,
    Wanted,
    about_of,
    search,
    source_of,
)
from jetmesh.runtime.origin import origin_of
from jetmesh.topology import partitions
from jetmesh.topology.names import DEAD_LETTERS, dead_letters_of
from jetmesh.topology.provision import histories
from jetmesh.topology.streams import outside

WHERE = {
    "streams": "streams",
    "others": "streams of others",
    "letters": "dead letters",
    "archive": "archive",
}
AGO = re.compile(r"(\d{1,9})\s*([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
TIME = "write 2026-11-30T06:00Z, or 15m, 2h, 3d for so long ago"
HEADER = "write its name, or name: a part of its value"
PART = ("at", "looked")
"""The parameters that say where a search goes on."""
TOKEN = re.compile(r"[^\s.*>]+")


class WrongField(ValueError):
    """A field of the search can't be read; the text names it, and says how to write it."""


async def searched(request: Request) -> Response:
    """A part of a search."""
    desk, asked = desk_of(request), request.query_params
    where = [name for name in asked.getlist("in") if name in WHERE] or list(WHERE)
    found, error = SearchPart(), ""
    away: Sequence[str] = ()
    try:
        wanted = _wanted(asked)
        if (wanted.path or wanted.header[0]) and not desk.sees_bodies(request):
            raise NotAllowed(403, "Headers and bodies are hidden from viewers, and so is the search in them.")
        found, away = await _found(desk, request, wanted, where)
    except WrongField as wrong:
        error = str(wrong)
    types = sorted({event.type for service in desk.services for event in service.records})
    return desk.page(
        request, "stories.html", found=found, away=away, error=error, asked=asked, where=where, places=WHERE,
        types=types, next_query=_next(asked, found), first_query=_query(asked), letters_stream=DEAD_LETTERS,
        has_archive=_has_archive(desk), has_others=bool(others(desk)),
    )  # fmt: skip


def _wanted(asked: QueryParams) -> Wanted:
    """What the fields say.

    Raises:
        WrongField: one of them can't be read.
    """
    said = {name: asked.get(name, "").strip() for name in ("type", "about", "trace", "header", "path")}
    for name in ("about", "type"):
        if said[name] and not all(map(TOKEN.fullmatch, said[name].split(".", 1 if name == "type" else 0))):
            raise WrongField(f"{'key' if name == 'about' else name}: it has no space, dot, * and >")
    header, _, text = (each.strip() for each in said["header"].partition(":"))
    if said["header"] and not header:
        raise WrongField(f"header: {HEADER}")
    trace = said["trace"].lower()
    if trace and not re.fullmatch(r"[0-9a-f]{32}", trace):
        raise WrongField("trace id: write 32 hexadecimal digits")
    try:
        path = Condition.parse(said["path"]) if said["path"] else None
    except WrongPath as wrong:
        raise WrongField(f"field of the body: {wrong}") from None
    return Wanted(
        said["type"], said["about"], trace, (header, text), path,
        _time(asked.get("since", ""), "from"), _time(asked.get("until", ""), "to"),
    )  # fmt: skip


def _time(text: str, name: str) -> datetime | None:
    text = text.strip()
    if not text:
        return None
    try:
        if ago := AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * UNITS[ago[2]])
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise WrongField(f"{name}: {TIME}") from None


async def _found(
    desk: Desk, request: Request, wanted: Wanted, where: Sequence[str]
) -> tuple[SearchPart, Sequence[str]]:
    """A part of the search, and the streams that are not there."""
    asked, connection = request.query_params, desk.link.context.connection
    at = asked.get("at", "").split(",")
    looked = int(asked["looked"]) if asked.get("looked", "").isdecimal() else 0
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(reading(connection))
        spots = [*_streams(desk, wanted, where)]
        archive = await archive_of(desk, [INTAKE, *read_streams(desk)]) if "archive" in where else None
        if len(at) != len(spots) + bool(archive):
            at, looked = [""] * (len(spots) + 1), 0
        foreign = ForeignMessages(desk.services, wanted.type)
        abouts = (_about(foreign, stream) for stream, _ in spots)
        streams = [
            StreamPlace(connection, reader, spot, wanted, each, about)
            for spot, each, about in zip(spots, at, abouts, strict=False)
        ]
        archives = [ArchivePlace(archive, wanted, at[-1], shown_by(desk))] if archive else []
        places: list[SearchPlace] = [*streams, *archives]
        found = await search(places, wanted, looked, request.is_disconnected)
        return found, sorted({place.name for place in streams if place.is_away})


def _streams(desk: Desk, wanted: Wanted, where: Sequence[str]) -> list[tuple[str, str]]:
    """The streams with the subjects on them that may fit."""
    found: list[tuple[str, str]] = []
    services = desk.services
    if "streams" in where:
        found += [(part, subject) for part in streams_of(desk, wanted.type) for subject in _recorded(wanted)]
        entities = sorted({entity for service in services for entity in outside(service)})
        found += [(INTAKE, subject) for entity in entities for subject in _outside(wanted, entity)]
    if "others" in where:
        found += others(desk, wanted.type, wanted.key)
    if "letters" in where:
        found += [(DEAD_LETTERS, dead_letters_of(service.name)) for service in services]
    return found


def read_streams(desk: Desk) -> list[str]:
    """The streams of events that the app reads, or records in."""
    others_read = read_of_others(desk.services, desk.link.context.settings.split)
    return sorted({*streams_of(desk), *others_read})


def shows(desk: Desk, stream: str, subject: str) -> bool:
    """Whether the console shows a message of a stream: of another's stream those alone that the app reads."""
    return shown_by(desk)(stream, subject)


def shown_by(desk: Desk) -> Callable[[str, str], bool]:
    """Tells whether the console shows a message, by its stream and subject."""
    own = {INTAKE, *streams_of(desk)}
    read = read_of_others(desk.services, desk.link.context.settings.split)
    return lambda stream, subject: stream in own or any(covers(each, subject) for each in read.get(stream, ()))


def others(desk: Desk, event: str = "", key: str = "") -> list[tuple[str, str]]:
    """The streams of others with the subjects that the app reads of them; those that may hold a type or a key."""
    listened = ForeignMessages(desk.services, event).subjects
    foreign = ForeignMessages(desk.services).subjects
    found = [(stream, subject) for stream, subjects in listened.items() for subject in subjects]
    for stream, subjects in read_of_others(desk.services, desk.link.context.settings.split).items():
        read = [subject for subject in subjects if subject not in foreign.get(stream, ())]
        found += [(stream, each) for subject in read for each in _narrowed(subject, event, key)]
    return found


def _narrowed(subject: str, event: str, key: str) -> list[str]:
    """Of a subject of events, those that may be of this type and key."""
    of = Subject.parse(subject).type
    if "*" in of or subject == ">":
        return _recorded(Wanted(type=event, key=key))
    if event not in ("", of):
        return []
    return _recorded(Wanted(type=of, key=key)) if key else [subject]


def _about(foreign: ForeignMessages, stream: str) -> About:
    """Who says what a message of a stream is about: its subject, or for a foreign one a decoder."""

    listened = frozenset(foreign.subjects)

    def about(message: Stored) -> tuple[str, str]:
        at = origin_of(message.subject).stream if stream == DEAD_LETTERS else stream
        if at not in listened:
            return about_of(message)
        return foreign.about(at, message._replace(subject=source_of(message)))

    return about if listened else about_of


def streams_of(desk: Desk, event: str = "") -> list[str]:
    """The streams of the app's events; of those that may hold a type of event."""
    owners = (s for s in desk.services if s.records and (not event or event in {e.type for e in s.records}))
    split = desk.link.context.settings.split
    return [part for each in owners for part in partitions.names(each.stream, split)]


def _recorded(wanted: Wanted) -> list[str]:
    """The subjects of recorded events; of an occurrence it has the id behind the key."""
    if wanted.key:
        event = f"{wanted.type or '*.*'}.{wanted.key}"
        return [event, f"{event}.>"]
    return [f"{wanted.type}.>"] if wanted.type else [">"]


def _outside(wanted: Wanted, entity: str) -> list[str]:
    """The subjects of what comes from outside, without or with a key."""
    if wanted.key or wanted.type.partition(".")[0] not in ("", entity):
        return []
    return [wanted.type, f"{wanted.type}.>"] if wanted.type else [f"{entity}.>"]


def _has_archive(desk: Desk) -> bool:
    return bool(desk.places.archive and desk.places.archive.is_dir())


async def archive_of(desk: Desk, streams: Sequence[str]) -> Archive | None:
    """The archive, if there is one; what a restore of these streams has undone is left out of it."""
    if not desk.places.archive or not desk.places.archive.is_dir():
        return None
    archive = Archive(desk.places.archive)
    archive.follow(await histories(desk.link.context.connection, list(dict.fromkeys(streams))))
    return archive


def _next(asked: QueryParams, found: SearchPart) -> str:
    """The query of the next part; empty where nothing is left."""
    if not found.goes_on:
        return ""
    return f"{_query(asked)}&{urlencode({'at': ','.join(found.goes_on), 'looked': found.looked})}"


def _query(asked: QueryParams) -> str:
    """The query of a search, from its beginning."""
    return str(QueryParams([(name, value) for name, value in asked.multi_items() if name not in PART and value]))
