"""Reads the state of the mesh for operators: reactions, lag, circuit breakers, dead letters, streams."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jetmesh.common.seldom import Seldom
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.instances import GRACE_SECONDS, Instances, Reports
from jetmesh.operate.letter_counts import LetterCounts, counted
from jetmesh.operate.service_answers import ANSWERS_SECONDS, ReactionReport
from jetmesh.outcome import Later, Retried
from jetmesh.reaction import Reaction
from jetmesh.runtime.durable_watch import pause_of
from jetmesh.service import Service
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.orphans import orphans
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE, Consumer, ConsumerKind, topology

STREAMS_SECONDS, ORPHANS_SECONDS = 2.0, 15.0
ASK_SECONDS = 2.0


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
    """The durables that no reaction declares any more."""
    letters: LetterCounts = field(default_factory=LetterCounts)


class Readings:
    """The mesh, read again and again over one connection. Streams and orphans, which change slowly, are read less often
    than durables and services."""

    def __init__(
        self,
        connection: Transport,
        services: Sequence[Service],
        split: Partitions = WHOLE,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.connection = connection
        self._services, self._needed = services, topology(services, split=split)
        self._instances = Instances(connection, [service.name for service in services], grace_seconds)
        self._streams = Seldom(STREAMS_SECONDS, self._read_streams)
        self._orphans = Seldom(ORPHANS_SECONDS, self._read_orphans)
        self._letters_of: StreamState | None = None
        self._letters = LetterCounts()

    async def read(self, before: Overview | None = None) -> Overview:
        """One reading; an earlier one adds the broker's rates.

        Raises:
            Unavailable: there is no connection.
        """
        reports, lags, streams, letters, orphaned = await asyncio.gather(
            self._instances.ask(),
            self._read_durables(),
            self._streams.get(),
            self._count_letters(),
            self._orphans.get(),
        )
        return Overview(
            at=time.time(),
            rows=tuple(_with_rates(self._rows(lags, reports, letters), before)),
            streams=tuple(state for state in streams.values() if state),
            instances={name: len(answers) for name, answers in reports.items()},
            breakers=_breakers(reports),
            dead_letters=letters.total,
            missing=tuple(self._missing(reports, lags, streams)),
            orphans=orphaned,
            letters=letters,
        )

    async def stop(self) -> None:
        """Hear no more answers."""
        await self._instances.stop()

    async def _read_durables(self) -> list[Lag | None]:
        return await _all(_consumer(self.connection, consumer) for consumer in self._needed.consumers)

    async def _read_streams(self) -> dict[str, StreamState | None]:
        names = [stream.name for stream in self._needed.streams]
        return dict(zip(names, await _all(_stream(self.connection, name) for name in names), strict=True))

    async def _read_orphans(self) -> tuple[str, ...]:
        streams = sorted({consumer.stream for consumer in self._needed.consumers})
        try:
            found = await orphans(self.connection, self._needed, streams)
        except (Unavailable, ApiError):
            return ()
        return tuple(f"{orphan.name}: {orphan}" for orphan in found)

    async def _count_letters(self) -> LetterCounts:
        """While their stream is as it was, the counts hold."""
        state = await _stream(self.connection, DEAD_LETTERS)
        if state is None or state != self._letters_of:
            try:
                self._letters = await counted(self.connection, self._services, ASK_SECONDS)
            except Unavailable:
                return LetterCounts()
            self._letters_of = state
        return self._letters

    def _rows(self, lags: Sequence[Lag | None], reports: Reports, letters: LetterCounts) -> Iterable[ReactionRow]:
        by_durable: dict[str, Lag] = {}
        for consumer, lag in zip(self._needed.consumers, lags, strict=True):
            by_durable[consumer.durable] = by_durable.get(consumer.durable, Lag()) + (lag or Lag())
        deadlines = {each.durable for each in self._needed.consumers if each.kind is ConsumerKind.DEADLINE}
        for row in _rows(self._services, by_durable, reports, letters):
            yield replace(row, waits=f"{row.service}-{row.name}" in deadlines)

    def _missing(
        self, reports: Reports, lags: Sequence[Lag | None], streams: Mapping[str, StreamState | None]
    ) -> Iterable[str]:
        for consumer, lag in zip(self._needed.consumers, lags, strict=True):
            if lag is None:
                yield f"durable {consumer.stream}/{consumer.durable}"
        yield from (f"stream {name}" for name, state in streams.items() if state is None)
        yield from (f"service {service.name}" for service in self._services if service.name not in reports)


async def look(
    connection: Transport, services: Sequence[Service], before: Overview | None = None, split: Partitions = WHOLE
) -> Overview:
    """Read the state of the mesh once; an earlier reading adds the broker's rates."""
    readings = Readings(connection, services, split, ANSWERS_SECONDS)
    try:
        return await readings.read(before)
    finally:
        await readings.stop()


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


async def _ask(connection: Transport, call: str) -> Any:
    try:
        return await request(connection, call, timeout_seconds=ASK_SECONDS)
    except (Unavailable, ApiError):
        return None
