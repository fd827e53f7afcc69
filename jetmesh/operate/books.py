"""What an audit reads, without asking a service: the messages of every stream, the dead letters, the archive."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Self

from jetmesh.cloudevents import decode_envelope, read_event, undecoded
from jetmesh.common import json_body
from jetmesh.event import INTAKE, EventType, is_milestone
from jetmesh.failure import BrokenContract
from jetmesh.history import History, history_of
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.delivery import Position, RawDelivery, id_of_place
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import Jetmesh, encode_headers
from jetmesh.jetstream.subject import is_marker
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.archive.open_work import delayed
from jetmesh.operate.archive.parquet import Archive, ArchiveError
from jetmesh.operate.archive.purge import archived_until
from jetmesh.operate.archive.row import Row
from jetmesh.operate.operator_log import BROUGHT_BACK, DISCARDED
from jetmesh.runtime.context import Context
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.service import Service
from jetmesh.topology import partitions
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.provision import check_split, histories
from jetmesh.topology.streams import outside, topology

Passed = Callable[[str, int], Awaitable[None]]
"""Is told where so many messages more were read, and may take its time: reading goes on when it returns."""
STEP = 1_000


async def unheard(_: str, __: int) -> None:
    """For those who do not want to know how far it is."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One message of a stream: its type, its key, its cause, its body (empty if that is no JSON object), and what is
    `wrong` with it if it can't be read."""

    stream: str
    sequence: int
    subject: str
    type: str
    key: str
    unix_nano: int
    id: str
    causation_id: str
    traceparent: str
    body: dict[str, Any]
    wrong: str = ""

    @property
    def position(self) -> Position:
        """Where it stands."""
        return self.stream, self.sequence

    def __str__(self) -> str:
        return f"{self.subject} ({self.stream} {self.sequence})"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, or the log's entry about one that was replayed or discarded: its reaction, and the position of
    its message."""

    sequence: int
    unix_nano: int
    subject: str
    reaction: str
    position: Position
    source_subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} (DEAD_LETTERS {self.sequence})"


@dataclass(slots=True, kw_only=True)
class Books:
    """Everything; `stories` has the events of each key by type, without state events. Some letters are open, others
    were `discarded`. `gone` are the messages that have left their streams."""

    services: Sequence[Service]
    intake: list[Fact]
    events: list[Fact]
    letters: list[Letter]
    discarded: list[Letter] = field(default_factory=list)
    delayed: list[Origin] = field(default_factory=list)
    gone: frozenset[Position] = frozenset()
    edited: frozenset[str] = frozenset()
    """The ids of the events that operators made of dead letters: a reaction got them, and no stream has them."""
    restorations: int = 0
    """How often the mesh was restored: each time, what services did outside may be done again."""
    types: Mapping[str, EventType] = field(init=False)
    stories: dict[str, dict[str, Fact]] = field(init=False)

    def __post_init__(self) -> None:
        self.types = types_of(self.services)
        self.stories = defaultdict(dict)
        for event in self.events:
            if not event.wrong and self.is_of_a_story(event):
                self.stories[event.key][event.type] = event

    @classmethod
    def extending(cls, found: "Books", **more: Any) -> Self:
        """The same books of an app's own class, with `more` fields."""
        return cls(**{each.name: getattr(found, each.name) for each in fields(Books) if each.init}, **more)

    def is_of_a_story(self, event: Fact) -> bool:
        """Whether it happened once, to one key."""
        event_type = self.types.get(event.type)
        return event_type is None or is_milestone(event_type)

    def of_type(self, *types: str) -> Iterator[Fact]:
        """The events of these types that can be read."""
        return (event for event in self.events if event.type in types and not event.wrong)

    def named(self, message: Fact) -> str:
        """The key of a message from outside: the one in its body, else one derived from its position."""
        event_type = self.types.get(message.type)
        said = message.body.get(event_type.key_field) if event_type else None
        return said if isinstance(said, str) else id_of_place(message.stream, message.unix_nano / 1e9, message.sequence)


def types_of(services: Sequence[Service]) -> dict[str, EventType]:
    """Every event that the services read or record, by its type."""
    reactions = [reaction for service in services for reaction in service.reactions]
    return {event.type: event for reaction in reactions for event in (*reaction.events, *reaction.outcomes)}


async def size(context: Context, services: Sequence[Service]) -> int:
    """How many messages are to be read, without those of the archive.

    Raises:
        Unavailable: the broker does not answer.
    """
    names = (*_streams(services, context), DEAD_LETTERS, INTAKE)
    infos = await asyncio.gather(*(request(context.connection, f"STREAM.INFO.{name}") for name in names))
    return sum(int(info["state"]["messages"]) for info in infos if info)


async def collect(context: Context, services: Sequence[Service], archive: Path, passed: Passed = unheard) -> Books:
    """Read everything.

    Raises:
        Unavailable: a stream does not answer.
        ArchiveError: stories are archived, and the archive is not there.
        SettingsError: the streams are split otherwise.
    """
    await check_split(context.connection, topology(services, split=context.settings.split))
    streams = _streams(services, context)
    types = types_of(services)
    await _refuse_halves(context, archive, streams)
    lives = await histories(context.connection, (INTAKE, *streams))

    read = partial(_read, context.connection, passed)
    # Effects before causes: what is read here was caused by something that is there when its stream is read later.
    events = [
        fact_of(types, stream, message)
        for stream in reversed(streams)
        async for message in read(stream)
        if not is_marker(message.subject)
    ]
    dead_letters = [message async for message in read(DEAD_LETTERS)]
    waiting = await delayed(context.connection, services)
    entities = {entity for service in services for entity in outside(service)}
    intake = [fact_of(types, INTAKE, each) async for each in read(INTAKE) if each.subject.partition(".")[0] in entities]
    # The archive last: what leaves a stream while it is read is there by then.
    rows = await asyncio.to_thread(_archived, archive, lives)
    await passed("the archive", len(rows))
    archived = [fact_of(types, row.stream, row.stored()) for row in rows]
    return Books(
        services=services,
        intake=_together(intake, (fact for fact in archived if fact.stream == INTAKE)),
        events=_together(events, (fact for fact in archived if fact.stream != INTAKE)),
        letters=[letter_of(message) for message in dead_letters if _is_ours(services, message.subject, "dead")],
        discarded=[letter_of(message) for message in _discarded(services, dead_letters)],
        delayed=waiting,
        gone=frozenset(fact.position for fact in archived) - {fact.position for fact in [*intake, *events]},
        edited=frozenset(_edited(services, dead_letters)),
        restorations=await _restorations(context.connection),
    )


async def _read(connection: Transport, passed: Passed, stream: str) -> AsyncIterator[Stored]:
    """Every message of a stream; none where there is no such stream."""
    if await request(connection, f"STREAM.INFO.{stream}") is None:
        return
    count = 0
    async for message in stream_reader.messages(connection, stream):
        yield message
        count += 1
        if count % STEP == 0:
            await passed(stream, STEP)
    await passed(stream, count % STEP)


async def _refuse_halves(context: Context, folder: Path, streams: Sequence[str]) -> None:
    """Without the archive, an ending whose earlier events are archived looks like a story that never began.

    Raises:
        ArchiveError: stories have left the streams, and there is no archive in that folder.
    """
    until = [await archived_until(context.connection, stream) for stream in (INTAKE, *streams)]
    if any(until) and not _exists(folder):
        raise ArchiveError(
            f"stories that ended before {max(until)} are archived, and no archive is in {folder}: "
            f"name it with JETMESH_ARCHIVE"
        )


def _exists(folder: Path) -> bool:
    return folder.is_dir() and Archive(folder).exists


def _archived(folder: Path, lives: Mapping[str, History]) -> Sequence[Row]:
    """The rows of the archive, if there is one; DuckDB is needed only then."""
    if not folder.is_dir():
        return ()
    kept = Archive(folder)
    kept.follow(lives)
    return kept.all()


async def _restorations(connection: Transport) -> int:
    info = await request(connection, f"STREAM.INFO.{DEAD_LETTERS}")
    return len(history_of(info).restorations) if info else 0


def _is_ours(services: Sequence[Service], subject: str, first: str) -> bool:
    """Whether a letter (or what was done with one) is about a service of this mesh: others may share the broker."""
    return subject.startswith(tuple(f"{first}.{service.name}." for service in services))


def _discarded(services: Sequence[Service], messages: Iterable[Stored]) -> list[Stored]:
    """The entries about letters that were discarded, and not brought back since."""
    found: dict[str, list[Stored]] = defaultdict(list)
    for message in messages:
        action = _object(message.data).get("action") if _is_ours(services, message.subject, "dead_log") else ""
        if action == DISCARDED:
            found[message.subject].append(message)
        elif action == BROUGHT_BACK and found[message.subject]:
            found[message.subject].pop()
    return [message for each in found.values() for message in each]


def _edited(services: Sequence[Service], messages: Iterable[Stored]) -> Iterator[str]:
    mine = (_object(each.data) for each in messages if _is_ours(services, each.subject, "dead_log"))
    return (str(entry["event_id"]) for entry in mine if entry.get("event_id"))


def _streams(services: Sequence[Service], context: Context) -> list[str]:
    """Where the services record, causes before effects; the partitions of those that are split."""
    wholes = [service.stream for service in services if service.records]
    return [part for whole in wholes for part in partitions.names(whole, context.settings.split)]


def _together(kept: Iterable[Fact], archived: Iterable[Fact]) -> list[Fact]:
    """Each message once, in the order of its stream: the endings of an archived story are in both."""
    by_position = {fact.position: fact for fact in [*archived, *kept]}
    return sorted(by_position.values(), key=lambda fact: (fact.stream, fact.sequence))


def fact_of(types: Mapping[str, EventType], stream: str, message: Stored) -> Fact:
    """What a message is, read as the services read it; `wrong` says why they could not."""
    at, headers = unix_nano(message.time), encode_headers(message.headers)
    delivery = RawDelivery(message.subject, headers, message.data, "", stream, message.sequence, 1, at / 1e9)
    try:
        envelope, wrong = decode_envelope(delivery), ""
    except BrokenContract as broken:
        envelope, wrong = undecoded(delivery), str(broken)
    said = _object(envelope.data)
    return Fact(
        stream=stream,
        sequence=message.sequence,
        subject=message.subject,
        type=delivery.type,
        key=delivery.key,
        unix_nano=at,
        id=envelope.id,
        causation_id=envelope.causation_id,
        traceparent=envelope.traceparent,
        body=said,
        wrong=wrong or _wrong(types.get(delivery.type), delivery, envelope.data),
    )


def _wrong(event_type: EventType | None, delivery: RawDelivery, data: bytes) -> str:
    """What its contract does not allow; empty if it comes from outside (its owner checks it), or has no contract
    here."""
    if event_type is None or not delivery.key:
        return ""
    try:
        return "" if read_event(event_type, data).key == delivery.key else "its key is not that of its subject"
    except BrokenContract as broken:
        return str(broken)


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json_body.document(data)
    except json_body.Malformed:
        return {}
    return said if isinstance(said, dict) else {}


def letter_of(message: Stored) -> Letter:
    """A dead letter, with the position of its message and the reason."""
    origin = origin_of(message.subject)
    return Letter(
        sequence=message.sequence,
        unix_nano=unix_nano(message.time),
        subject=message.subject,
        reaction=origin.whose,
        position=origin.position,
        source_subject=message.headers.get(Jetmesh.SUBJECT, ""),
        reason=message.headers.get(Jetmesh.REASON, ""),
    )
