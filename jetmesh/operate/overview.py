"""Reads the state of the mesh for operators: reactions, lag, circuit breakers, dead letters, streams."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.service_answers import ReactionReport, ServiceReport, Stats, ask_everybody, read
from jetmesh.outcome import Later, Retried
from jetmesh.process.micro import REPORT
from jetmesh.reaction import Reaction
from jetmesh.runtime.durable_watch import pause_of
from jetmesh.runtime.origin import origin_of
from jetmesh.service import Service
from jetmesh.topology.names import DEAD_LETTERS, DEAD_SUBJECTS
from jetmesh.topology.orphans import orphans
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE, Consumer, ConsumerKind, Topology, topology

ORPHANS_SECONDS = 15.0
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
    """One reaction, or one consumer that several share. Rates are per second over the last minute, as the services
    report them; `settled_per_second` is the broker's and needs two readings."""

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


@dataclass(frozen=True, slots=True)
class StreamState:
    """The size of one stream."""

    name: str
    messages: int
    bytes: int
    last_sequence: int


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


async def look(
    connection: Transport, services: Sequence[Service], before: Overview | None = None, split: Partitions = WHOLE
) -> Overview:
    """Read the state of the mesh; an earlier reading adds the broker's rates."""
    needed = topology(services, split=split)
    reports, infos, streams, letters = await asyncio.gather(
        _reports(connection, services),
        _all(_consumer(connection, consumer) for consumer in needed.consumers),
        _all(_stream(connection, stream.name) for stream in needed.streams),
        _letters(connection, {service.name for service in services}),
    )
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
        dead_letters=sum(letters.values()),
        missing=tuple(missing),
        orphans=orphaned,
        orphans_at=looked_at,
    )


def _rows(
    services: Sequence[Service], lags: dict[str, Lag], reports: Reports, letters: dict[str, int]
) -> Iterable[ReactionRow]:
    for service in services:
        for reaction in service.reactions:
            reporting = reports.get(service.name, [])
            mine = [each.reactions[reaction.name] for each in reporting if reaction.name in each.reactions]
            yield _row(reaction, lags.get(reaction.durable), mine, letters)
        for lane in ("intake", "due"):
            if f"{service.name}-{lane}" in lags:
                yield ReactionRow(service.name, f"({lane})", lags[f"{service.name}-{lane}"])


def _row(reaction: Reaction, lag: Lag | None, reports: list[ReactionReport], letters: dict[str, int]) -> ReactionRow:
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
        dead_letters=sum(letters.get(f"{reaction.service}.{name}", 0) for name in (reaction.name, *reaction.formerly)),
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


async def _letters(connection: Transport, services: set[str]) -> dict[str, int]:
    """The number of dead letters of each `service.reaction` of these services."""
    info = await _ask(connection, f"STREAM.INFO.{DEAD_LETTERS}", {"subjects_filter": DEAD_SUBJECTS})
    found: dict[str, int] = {}
    for subject, count in ((info or {}).get("state", {}).get("subjects") or {}).items():
        origin = origin_of(subject)
        if origin.service in services:
            found[origin.whose] = found.get(origin.whose, 0) + count
    return found


async def _ask(connection: Transport, call: str, body: Any = None) -> Any:
    try:
        return await request(connection, call, body, timeout_seconds=2.0)
    except (Unavailable, ApiError):
        return None
