"""The events of one key, from all streams and the archive: the present ones, and those that follow."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from jetmesh.event import is_occurrence
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents
from jetmesh.jetstream.subject import key_subjects
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.flow import is_over
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.topology import partitions
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.provision import check_split, histories
from jetmesh.topology.streams import topology

POLL_SECONDS = 0.02
OCCURRENCES_MAX, PAGE = 1_000, 500


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """One event of a key's story, without its body, which may be personal."""

    type: str
    time: datetime
    service: str
    stream: str
    sequence: int
    id: str
    causation_id: str
    traceparent: str
    archived: bool = False
    """Whether it has left its stream."""

    @property
    def trace_id(self) -> str:
        """The trace that it was recorded in; empty where nothing was traced."""
        return self.traceparent[3:35]


async def story(context: Context, services: Sequence[Service], key: str) -> list[StoryEvent]:
    """What every service recorded about the key, oldest first.

    Raises:
        Unavailable: a stream does not answer.
    """
    places = [(s, partitions.name_for(s.stream, key, context.settings.split)) for s in services if s.records]
    found = [await _recorded(context, service, stream, key) for service, stream in places]
    return sorted((event for events in found for event in events), key=lambda event: (event.time, event.type))


def archived(archive: Archive, services: Sequence[Service], key: str, split: Partitions) -> list[StoryEvent]:
    """What services recorded about the key and an archive keeps, oldest first.

    Raises:
        ArchiveError: it can't be read.
    """
    names = {partitions.name_for(service.stream, key, split): service.name for service in services}
    rows = [row for row in archive.of([key]) if row.stream in names]
    return [replace(event_of(row.stored(), names[row.stream], row.stream), archived=True) for row in rows]


async def whole(context: Context, services: Sequence[Service], key: str, archive: Archive | None) -> list[StoryEvent]:
    """The events of the key in the streams and in the archive, oldest first.

    Raises:
        Unavailable: a stream does not answer.
        ArchiveError: the archive can't be read, or is that of another mesh.
        SettingsError: the streams are split otherwise.
    """
    split = context.settings.split
    needed = topology(services, split=split)
    await check_split(context.connection, needed)
    if archive:
        archive.follow(await histories(context.connection, [stream.name for stream in needed.streams]))
    events = {(event.stream, event.sequence): event for event in await story(context, services, key)}
    for event in archived(archive, services, key, split) if archive else ():
        place = event.stream, event.sequence
        if place not in events or not events[place].id:  # a marker has only its type and its time
            events[place] = event
    return sorted(events.values(), key=lambda event: (event.time, event.type))


async def follow(context: Context, services: Sequence[Service], key: str, seconds: float) -> AsyncIterator[StoryEvent]:
    """The events as they come, until nothing more can happen or the time is up."""
    seen: set[str] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        events = await story(context, services, key)
        for event in events:
            if event.type not in seen:
                seen.add(event.type)
                yield event
        if is_over(services, events):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _recorded(context: Context, service: Service, stream: str, key: str) -> list[StoryEvent]:
    try:
        stored = await context.direct_get.last(stream, [key_subjects(key)])
        if any(map(is_occurrence, service.records)):
            stored += await _occurrences(context, stream, key)
    except Unavailable:
        if await request(context.connection, f"STREAM.INFO.{stream}") is None:
            return []
        raise
    return [event_of(ending, service.name, stream) for message in stored for ending in message.endings()]


async def _occurrences(context: Context, stream: str, key: str) -> Iterable[Stored]:
    """What happened many times about the key: the newest of it."""
    newest, first = deque[Stored](maxlen=OCCURRENCES_MAX), 1
    while page := (await context.direct_get.page(stream, f"*.*.{key}.*", first, PAGE)).messages:
        newest.extend(page)
        first = page[-1].sequence + 1
    return newest


def event_of(message: Stored, service: str, stream: str) -> StoryEvent:
    """A message of a service's stream as an event of a story."""
    headers = message.headers
    return StoryEvent(
        type=message.type,
        time=datetime.fromisoformat(message.time),
        service=service,
        stream=stream,
        sequence=message.sequence,
        id=headers.get(CloudEvents.ID, ""),
        causation_id=headers.get(CloudEvents.CAUSATION_ID, ""),
        traceparent=headers.get(TRACEPARENT, ""),
    )
