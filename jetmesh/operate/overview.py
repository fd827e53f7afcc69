"""Reads the state of the mesh for operators: reactions, lag, circuit breakers, dead letters, streams."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import DirectGet, reading
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.service_answers import ReactionReport, ServiceReport, Stats, ask_everybody, read
from jetmesh.outcome import Later, Retried
from jetmesh.process.micro import REPORT
from jetmesh.reaction import Reaction
from jetmesh.runtime.durable_watch import pause_of
from jetmesh.service import Service
from jetmesh.topology.names import DEAD_LETTERS, dead_letters_of
from jetmesh.topology.orphans import orphans
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE, Consumer, ConsumerKind, Topology, topology

ORPHANS_SECONDS = 15.0
ASK_SECONDS = 2.0
Reports = dict[str, list[ServiceReport]]
"""The reports of each service's instances."""


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of one durable, for all replicas."""

    pending: int = 0
    ack_pending: int = 0
    redelivered: int = 0
    handled: int = 0
    """Deliveries settled since it was created: two readings make a rate."""
    paused: str = ""
    """In words, until when an operator lets it rest; empty: it works."""

    def __add__(self, other: "Lag") -> "Lag":
        return Lag(
            self.pending + other.pending,
            self.ack_pending + other.ack_pending,
            self.redelivered + other.redelivered,
            self.handled + other.handled,
            self.paused or other.paused,
        )


@dataclass(frozen=True, slots=True)
class ReactionRow:
    """One reaction, one consumer that several share, or an express one. Rates are per second over the last minute, as
    the services report them; `settled_per_second` is the broker's and needs two readings."""

    service: str
    name: str
    lag: Lag
    attempts_per_second: float = 0.0
    failed_per_second: float = 0.0
    settled_per_second: float | None = None
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    dead_letters: int = 0
    breaker: str = "closed"
    retries: int = 0
    """How many attempts had another one to follow, since the processes started."""
    limit_waiting: int = 0
    """How many deliveries wait for its rate limit, in all processes."""
    limit_opens_in_seconds: float = 0.0
    waits: bool = False
    """Whether it is a deadline, whose pending deliveries wait by design."""
    is_express: bool = False
    """Whether the row above it has all of its deliveries too."""

    @property
    def is_lane(self) -> bool:
        """Whether it is no reaction, but a durable that several share, or the express durable of one."""
        return self.name.startswith("(")


def waiting(rows: Iterable[ReactionRow]) -> int:
    """How many deliveries wait or are in flight, each counted once, and should not: deadlines and what an operator lets
    rest wait on purpose."""
    counted = (row.lag for row in rows if not (row.waits or row.is_express or row.lag.paused))
    return sum(lag.pending + lag.ack_pending for lag in counted)


@dataclass(frozen=True, slots=True)
class StreamState:
    """The size of one stream."""

    name: str
    messages: int
    bytes: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class LetterCounts:
    """How many dead letters there are of a service (`payments`) and of a reaction (`payments.authorize`)."""

    stream: StreamState | None = None
    """How their stream was: while it is so, the counts hold."""
    by_service: Mapping[str, int] = field(default_factory=dict)
    by_reaction: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them, those of former reactions too."""
        return sum(self.by_service.values())

    def of(self, reaction: Reaction) -> int:
        """Those of a reaction, under all its names."""
        return sum(self.by_reaction.get(name, 0) for name in _names(reaction))


@dataclass(frozen=True, slots=True)
class Overview:
    """One reading of the mesh. `missing` names what did not answer."""

    at: float
    rows: tuple[ReactionRow, ...]
    streams: tuple[StreamState, ...]
    instances: dict[str, int] = field(default_factory=dict)
    breakers: dict[str, str] = field(default_factory=dict)
    dead_letters: int = 0
    missing: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    """The durables that no reaction declares any more; looked for at every `ORPHANS_SECONDS`."""
    orphans_at: float = 0.0
    letters: LetterCounts = field(default_factory=LetterCounts)


async def look(
    connection: Transport, services: Sequence[Service], before: Overview | None = None, split: Partitions = WHOLE
) -> Overview:
    """Read the state of the mesh; an earlier reading adds the broker's rates."""
    needed = topology(services, split=split)
    reports, infos, streams = await asyncio.gather(
        _reports(connection, services),
        _all(_consumer(connection, consumer) for consumer in needed.consumers),
        _all(_stream(connection, stream.name) for stream in needed.streams),
    )
    state = next((each for each in streams if each and each.name == DEAD_LETTERS), None)
    letters = await _letters(connection, services, state, before)
    lags: dict[str, Lag] = {}
    for consumer, lag in zip(needed.consumers, infos, strict=True):
        lags[consumer.durable] = lags.get(consumer.durable, Lag()) + (lag or Lag())
    missing = [f"durable {c.stream}/{c.durable}" for c, lag in zip(needed.consumers, infos, strict=True) if lag is None]
    missing += [f"stream {stream.name}" for stream, state in zip(needed.streams, streams, strict=True) if state is None]
    missing += [f"service {service.name}" for service in services if service.name not in reports]
    deadlines = {consumer.durable for consumer in needed.consumers if consumer.kind is ConsumerKind.DEADLINE}
    rows = _with_rates(_rows(services, lags, reports, letters), before)
    if before is None or time.time() - before.orphans_at > ORPHANS_SECONDS:
        orphaned, looked_at = await _orphans(connection, needed), time.time()
    else:
        orphaned, looked_at = before.orphans, before.orphans_at
    return Overview(
        at=time.time(),
        rows=tuple(replace(row, waits=f"{row.service}-{row.name}" in deadlines) for row in rows),
        streams=tuple(state for state in streams if state),
        instances={name: len(answers) for name, answers in reports.items()},
        breakers=_breakers(reports),
        dead_letters=letters.total,
        missing=tuple(missing),
        orphans=orphaned,
        orphans_at=looked_at,
        letters=letters,
    )


def _rows(
    services: Sequence[Service], lags: dict[str, Lag], reports: Reports, letters: LetterCounts
) -> Iterable[ReactionRow]:
    for service in services:
        for reaction in service.reactions:
            reporting = reports.get(service.name, [])
            mine = [each.reactions[reaction.name] for each in reporting if reaction.name in each.reactions]
            yield _row(reaction, lags.get(reaction.durable), mine, letters)
            if reaction.express in lags:
                yield ReactionRow(service.name, f"({reaction.name} express)", lags[reaction.express], is_express=True)
        for lane in ("intake", "due"):
            if f"{service.name}-{lane}" in lags:
                yield ReactionRow(service.name, f"({lane})", lags[f"{service.name}-{lane}"])


def _row(reaction: Reaction, lag: Lag | None, reports: list[ReactionReport], letters: LetterCounts) -> ReactionRow:
    """A reaction by what its replicas report: rates add up; of latencies and circuit breakers the worst counts."""
    breakers = {answer.breaker for answer in reports}
    return ReactionRow(
        service=reaction.service,
        name=reaction.name,
        lag=lag or Lag(),
        attempts_per_second=sum(answer.attempts_per_second for answer in reports),
        failed_per_second=sum(answer.failed_per_second for answer in reports),
        p50_ms=max((answer.p50_ms for answer in reports), default=0),
        p95_ms=max((answer.p95_ms for answer in reports), default=0),
        dead_letters=letters.of(reaction),
        breaker=next((state for state in ("open", "half-open") if state in breakers), "closed"),
        retries=sum(answer.outcomes.get(name, 0) for answer in reports for name in (Retried.name, Later.name)),
        limit_waiting=sum(answer.limit_waiting for answer in reports),
        limit_opens_in_seconds=max((answer.limit_opens_in_seconds for answer in reports), default=0),
    )


def _with_rates(rows: Iterable[ReactionRow], before: Overview | None) -> Iterable[ReactionRow]:
    earlier = {(row.service, row.name): row.lag.handled for row in before.rows} if before else {}
    for row in rows:
        handled = earlier.get((row.service, row.name))
        if before is None or handled is None:
            yield row
        else:
            seconds = max(0.001, time.time() - before.at)
            yield replace(row, settled_per_second=max(0, row.lag.handled - handled) / seconds)


def _breakers(reports: Reports) -> dict[str, str]:
    """The circuit breakers that are not closed, with their states."""
    return {
        f"{service}/{name}": f"{breaker.state}: {breaker.reason}"
        for service, answers in reports.items()
        for answer in answers
        for name, breaker in answer.breakers.items()
        if breaker.state != "closed"
    }


async def _reports(connection: Transport, services: Sequence[Service]) -> Reports:
    """The reports of every instance, by service (`$SRV.STATS.<service>`, which no other service may subscribe to)."""
    answers = await _all(ask_everybody(connection, f"$SRV.STATS.{service.name}", Stats) for service in services)
    found = {service.name: list(_service_reports(got)) for service, got in zip(services, answers, strict=True)}
    return {name: reports for name, reports in found.items() if reports}


def _service_reports(answers: Iterable[Stats]) -> Iterable[ServiceReport]:
    for endpoint in (endpoint for answer in answers for endpoint in answer.endpoints or ()):
        if endpoint.name == REPORT and (report := read(ServiceReport, endpoint.data)):
            yield report


async def _all(calls: Iterable[Any]) -> list[Any]:
    return list(await asyncio.gather(*calls))


async def _consumer(connection: Transport, consumer: Consumer) -> Lag | None:
    info = await _ask(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
    if info is None:
        return None
    paused = pause_of(info) if info.get("paused") else ""
    handled = info["ack_floor"]["consumer_seq"]
    return Lag(info["num_pending"], info["num_ack_pending"], info["num_redelivered"], handled, paused)


async def _stream(connection: Transport, name: str) -> StreamState | None:
    info = await _ask(connection, f"STREAM.INFO.{name}")
    if info is None:
        return None
    state = info["state"]
    return StreamState(name, state["messages"], state["bytes"], state["last_seq"])


async def _orphans(connection: Transport, needed: Topology) -> tuple[str, ...]:
    try:
        found = await orphans(connection, needed, sorted({consumer.stream for consumer in needed.consumers}))
    except (Unavailable, ApiError):
        return ()
    return tuple(f"{orphan.name}: {orphan}" for orphan in found)


async def _letters(
    connection: Transport, services: Sequence[Service], stream: StreamState | None, before: Overview | None
) -> LetterCounts:
    """The dead letters, counted by the broker: a list of their subjects takes it seconds beside many of them."""
    if before is not None and stream is not None and stream == before.letters.stream:
        return before.letters
    try:
        async with reading(connection, ASK_SECONDS) as reader:
            by_service = await _counts(reader, [service.name for service in services])
            reactions = (each for service in services if by_service.get(service.name) for each in service.reactions)
            by_reaction = await _counts(reader, [name for each in reactions for name in _names(each)])
    except Unavailable:
        return LetterCounts()
    return LetterCounts(stream, by_service, by_reaction)


async def _counts(reader: DirectGet, whose: Iterable[str]) -> dict[str, int]:
    """How many letters there are of each of these services or reactions."""
    names = list(dict.fromkeys(whose))
    pages = await _all(reader.page(DEAD_LETTERS, dead_letters_of(name), 1, 1) for name in names)
    return {name: len(page.messages) + page.pending for name, page in zip(names, pages, strict=True)}


def _names(reaction: Reaction) -> list[str]:
    """A reaction's names, present and former ones, as letters tell them."""
    return [f"{reaction.service}.{name}" for name in (reaction.name, *reaction.formerly)]


async def _ask(connection: Transport, call: str) -> Any:
    try:
        return await request(connection, call, timeout_seconds=ASK_SECONDS)
    except (Unavailable, ApiError):
        return None
