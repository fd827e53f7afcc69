"""The whole mesh at one moment, as an operator sees it: reactions, lag, switches, dead letters, streams."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, FiniteFloat, ValidationError

from jetmesh import deadletter
from jetmesh.connection import Connection
from jetmesh.failure import Unavailable
from jetmesh.micro import REPORT
from jetmesh.partitions import Partitions
from jetmesh.provision import Drift, request
from jetmesh.service import Form, Reaction, Service
from jetmesh.topology import WHOLE, Consumer, topology

ANSWERS_SECONDS = 0.4
"""How long the services are waited for: nobody knows how many there are."""


class _Reaction(BaseModel):
    """What an instance tells of a reaction."""

    attempts_per_second: FiniteFloat = 0
    failed_per_second: FiniteFloat = 0
    p50_ms: FiniteFloat = 0
    p95_ms: FiniteFloat = 0
    switch: str = "closed"


class _Switch(BaseModel):
    """What an instance tells of a switch."""

    state: str
    reason: str = ""


class _Report(BaseModel):
    """What an instance tells about itself (`jetmesh.gauges.report`)."""

    reactions: dict[str, _Reaction]
    switches: dict[str, _Switch] = {}


class _Endpoint(BaseModel):
    name: str = ""
    data: Any = None


class _Stats(BaseModel):
    """The answer to `$SRV.STATS` (ADR-32), as far as we read it."""

    endpoints: list[_Endpoint]


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits for one durable, over all replicas."""

    pending: int = 0
    ack_pending: int = 0
    redelivered: int = 0
    handled: int = 0
    """How many deliveries it has settled in its life: two readings make a rate."""

    def __add__(self, other: "Lag") -> "Lag":
        return Lag(
            self.pending + other.pending,
            self.ack_pending + other.ack_pending,
            self.redelivered + other.redelivered,
            self.handled + other.handled,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One reaction, or one lane that several share. Rates are per second over the last minute, by the services' own
    account; `settled_per_second` comes from the broker and needs two readings."""

    service: str
    name: str
    lag: Lag
    attempts_per_second: float = 0.0
    failed_per_second: float = 0.0
    settled_per_second: float | None = None
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    dead_letters: int = 0
    switch: str = "closed"
    waits: bool = False
    """A deadline: what is pending waits for its time."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream: how much it holds."""

    name: str
    messages: int
    bytes: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Overview:
    """One reading of the mesh. `missing` says what did not answer."""

    at: float
    rows: tuple[Row, ...]
    streams: tuple[StreamState, ...]
    instances: dict[str, int] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    dead_letters: int = 0
    missing: tuple[str, ...] = ()


async def look(
    connection: Connection, services: Sequence[Service], before: Overview | None = None, split: Partitions = WHOLE
) -> Overview:
    """Read the state of the mesh; with an earlier reading, rates by the broker's own count."""
    needed = topology(services, split=split)
    reports, infos, streams, letters = await asyncio.gather(
        _reports(connection, services),
        _all(_consumer(connection, consumer) for consumer in needed.consumers),
        _all(_stream(connection, stream.name) for stream in needed.streams),
        _letters(connection),
    )
    lags: dict[str, Lag] = {}
    for consumer, lag in zip(needed.consumers, infos, strict=True):
        lags[consumer.durable] = lags.get(consumer.durable, Lag()) + (lag or Lag())
    missing = [f"durable {c.stream}/{c.durable}" for c, lag in zip(needed.consumers, infos, strict=True) if lag is None]
    missing += [f"stream {stream.name}" for stream, state in zip(needed.streams, streams, strict=True) if state is None]
    missing += [f"service {service.name}" for service in services if service.name not in reports]
    rows = _with_rates(_rows(services, lags, reports, letters), before)
    return Overview(
        at=time.time(),
        rows=tuple(rows),
        streams=tuple(state for state in streams if state),
        instances={name: len(answers) for name, answers in reports.items()},
        switches=_switches(reports),
        dead_letters=sum(letters.values()),
        missing=tuple(missing),
    )


def _rows(
    services: Sequence[Service], lags: dict[str, Lag], reports: dict[str, list[Any]], letters: dict[str, int]
) -> Iterable[Row]:
    for service in services:
        for reaction in service.reactions:
            told = [answer["reactions"].get(reaction.name, {}) for answer in reports.get(service.name, [])]
            yield _row(reaction, lags.get(reaction.durable), told, letters)
        for lane in ("intake", "due"):
            if f"{service.name}-{lane}" in lags:
                yield Row(service.name, f"({lane})", lags[f"{service.name}-{lane}"])


def _row(reaction: Reaction, lag: Lag | None, told: list[dict[str, Any]], letters: dict[str, int]) -> Row:
    """A reaction by what its replicas tell: rates add up, of the latencies and the switch the worst counts."""
    switches = {answer.get("switch", "closed") for answer in told}
    return Row(
        service=reaction.service,
        name=reaction.name,
        lag=lag or Lag(),
        attempts_per_second=sum(answer.get("attempts_per_second", 0) for answer in told),
        failed_per_second=sum(answer.get("failed_per_second", 0) for answer in told),
        p50_ms=max((answer.get("p50_ms", 0) for answer in told), default=0),
        p95_ms=max((answer.get("p95_ms", 0) for answer in told), default=0),
        waits=reaction.form is Form.AFTER,
        dead_letters=letters.get(f"{reaction.service}.{reaction.name}", 0),
        switch=next((state for state in ("open", "half-open") if state in switches), "closed"),
    )


def _with_rates(rows: Iterable[Row], before: Overview | None) -> Iterable[Row]:
    earlier = {(row.service, row.name): row.lag.handled for row in before.rows} if before else {}
    for row in rows:
        handled = earlier.get((row.service, row.name))
        if before is None or handled is None:
            yield row
        else:
            seconds = max(0.001, time.time() - before.at)
            yield replace(row, settled_per_second=max(0, row.lag.handled - handled) / seconds)


def _switches(reports: dict[str, list[Any]]) -> dict[str, str]:
    """The switches that are not closed, with their reasons."""
    return {
        f"{service}/{name}": f"{switch['state']}: {switch['reason']}"
        for service, answers in reports.items()
        for answer in answers
        for name, switch in answer["switches"].items()
        if switch["state"] != "closed"
    }


async def _reports(connection: Connection, services: Sequence[Service]) -> dict[str, list[Any]]:
    """What every instance of each service tells about itself (`$SRV.STATS.<service>`, which no other service's user may
    hear), by service. What is no such report is none."""
    answers = await _all(ask_everybody(connection, f"$SRV.STATS.{service.name}") for service in services)
    told = {s.name: [_report(answer) for answer in got] for s, got in zip(services, answers, strict=True)}
    return {name: found for name, reports in told.items() if (found := [report for report in reports if report])}


def _report(answer: Any) -> dict[str, Any] | None:
    try:
        endpoints = _Stats.model_validate(answer).endpoints
        data = next((endpoint.data for endpoint in endpoints if endpoint.name == REPORT), None)
        return _Report.model_validate(data).model_dump()
    except ValidationError:
        return None


async def ask_everybody(connection: Connection, subject: str, seconds: float = ANSWERS_SECONDS) -> list[Any]:
    """All answers to one request that come within `seconds`, and are JSON."""
    answers: list[Any] = []

    def on_frame(_subject: str, _reply: str, headers: bytes, data: bytes) -> None:
        if data and not headers.startswith(b"NATS/1.0 503"):
            with suppress(ValueError, RecursionError):
                answers.append(json.loads(data))

    async with connection.answers(on_frame) as inbox:
        connection.send(subject, b"", reply=inbox)
        await asyncio.sleep(seconds)
    return answers


async def _all(calls: Iterable[Any]) -> list[Any]:
    return list(await asyncio.gather(*calls))


async def _consumer(connection: Connection, consumer: Consumer) -> Lag | None:
    info = await _ask(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
    if info is None:
        return None
    return Lag(info["num_pending"], info["num_ack_pending"], info["num_redelivered"], info["ack_floor"]["consumer_seq"])


async def _stream(connection: Connection, name: str) -> StreamState | None:
    info = await _ask(connection, f"STREAM.INFO.{name}")
    if info is None:
        return None
    state = info["state"]
    return StreamState(name, state["messages"], state["bytes"], state["last_seq"])


async def _letters(connection: Connection) -> dict[str, int]:
    """How many dead letters each reaction has, as `service.reaction`."""
    info = await _ask(connection, f"STREAM.INFO.{deadletter.STREAM}", {"subjects_filter": deadletter.SUBJECTS})
    found: dict[str, int] = {}
    for subject, count in ((info or {}).get("state", {}).get("subjects") or {}).items():
        _, service, reaction, *_ = subject.split(".")
        found[f"{service}.{reaction}"] = found.get(f"{service}.{reaction}", 0) + count
    return found


async def _ask(connection: Connection, call: str, body: Any = None) -> Any:
    try:
        return await request(connection, call, body, timeout_seconds=2.0)
    except (Unavailable, Drift):
        return None
