"""The difference between what the services need and what the broker has: shown, made, or refused at start."""

import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jetmesh.connection import Connection
from jetmesh.settings import SettingsError
from jetmesh.topology import Config, Consumer, Stream, Topology

NOT_FOUND = frozenset({10059, 10014})
IMMUTABLE = frozenset({"storage", "retention"})
FORGOTTEN_SECONDS = 3_600
DESTRUCTIVE_WHEN_LOWERED = frozenset({"max_age", "max_bytes", "max_msgs", "max_msgs_per_subject"})


class Drift(Exception):
    """The broker's topology is not what the services need; the text shows the difference."""


class Change(Enum):
    """What applying would do."""

    CREATE = "create"
    UPDATE = "update"
    REFUSE = "refuse"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One stream or consumer: what would be done about it, and each field that differs as (name, has, needs)."""

    change: Change
    kind: str
    name: str
    wanted: Stream | Consumer
    differences: tuple[tuple[str, Any, Any], ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        fields = "".join(f"\n    {name}: {has!r} -> {needs!r}" for name, has, needs in self.differences)
        return f"{self.change.value} {self.kind} {self.name}{f': {self.reason}' if self.reason else ''}{fields}"


async def plan(connection: Connection, wanted: Topology) -> list[Step]:
    """Compare, changing nothing."""
    steps = [await _plan_stream(connection, stream) for stream in wanted.streams]
    return steps + [await _plan_consumer(connection, consumer) for consumer in wanted.consumers]


async def apply(connection: Connection, steps: Iterable[Step]) -> None:
    """Carry out a plan, streams before consumers. Deletes nothing.

    Raises:
        Drift: the plan has a step that would lose data or can't be made; nothing is changed then.
    """
    steps = list(steps)
    if refused := [step for step in steps if step.change is Change.REFUSE]:
        raise Drift("\n".join(str(step) for step in refused))
    for step in steps:
        if step.change is not Change.KEEP:
            await _make(connection, step)


async def check(connection: Connection, consumers: Iterable[Consumer]) -> None:
    """Whether a service's durables are what its code declares.

    Raises:
        Drift: with the difference, and the command that mends it.
    """
    steps = [await _plan_consumer(connection, consumer) for consumer in consumers]
    if drift := [str(step) for step in steps if step.change is not Change.KEEP]:
        raise Drift("\n".join([*drift, "the broker differs from what the code declares: run `jetmesh topology apply`"]))


async def check_split(connection: Connection, wanted: Topology) -> None:
    """Whether the broker splits its streams as these are split: who looks for a key elsewhere finds no story at all.

    Raises:
        SettingsError: it does not; the text names the setting.
    """
    for stream in wanted.streams:
        info = await request(connection, f"STREAM.INFO.{stream.name}")
        if info is None and stream.rival and await request(connection, f"STREAM.INFO.{stream.rival}"):
            raise SettingsError(f"settings: JETMESH_PARTITIONS: the broker has {stream.rival}, not {stream.name}")
        routed = stream.config.get("subject_transform")
        if info and routed and info["config"].get("subject_transform") != routed:
            raise SettingsError(f"settings: JETMESH_PARTITIONS: the broker's {stream.name} is one of another number")


async def _plan_stream(connection: Connection, stream: Stream) -> Step:
    info = await request(connection, f"STREAM.INFO.{stream.name}")
    if info is None:
        return await _plan_new_stream(connection, stream)
    differences = _differences(info["config"], stream.config)
    if not differences:
        return Step(Change.KEEP, "stream", stream.name, stream)
    reason = next((why for field in differences if (why := _forbidden(*field))), "")
    return Step(Change.REFUSE if reason else Change.UPDATE, "stream", stream.name, stream, differences, reason)


async def _plan_new_stream(connection: Connection, stream: Stream) -> Step:
    """Refused where the same events are held by a stream that was split otherwise: a key would have two stories."""
    if stream.rival and await request(connection, f"STREAM.INFO.{stream.rival}"):
        reason = f"{stream.rival} is there: JETMESH_PARTITIONS must stay what it was when the first event was recorded"
        return Step(Change.REFUSE, "stream", stream.name, stream, reason=reason)
    return Step(Change.CREATE, "stream", stream.name, stream)


async def _plan_consumer(connection: Connection, consumer: Consumer) -> Step:
    name = f"{consumer.stream}/{consumer.durable}"
    info = await request(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
    if info is None:
        return Step(Change.CREATE, "consumer", name, consumer)
    has = dict(info["config"])
    has.setdefault("filter_subjects", [has["filter_subject"]] if has.get("filter_subject") else [])
    differences = _differences(has, consumer.config)
    if has.get("backoff"):
        differences += (("backoff", has["backoff"], None),)
    return Step(Change.UPDATE if differences else Change.KEEP, "consumer", name, consumer, differences)


def _differences(has: Config, needs: Config) -> tuple[tuple[str, Any, Any], ...]:
    found = []
    for name, value in needs.items():
        actual = has.get(name)
        if isinstance(value, list):
            same = sorted(actual or []) == sorted(value)
        else:
            same = actual == value or (not actual and not value)
        if not same:
            found.append((name, actual, value))
    return tuple(found)


def _forbidden(name: str, has: Any, needs: Any) -> str:
    """Why a stream's field can't be changed without losing what is kept; empty where it can."""
    if name in IMMUTABLE:
        return f"{name} of a stream can't be changed; move its messages to a new stream"
    if name in DESTRUCTIVE_WHEN_LOWERED and needs not in (-1, 0, None) and (has in (-1, 0, None) or needs < has):
        return f"a lower {name} would delete messages"
    if name == "num_replicas" and needs < (has or 1):
        return (
            f"the stream has {has} copies: set JETMESH_REPLICAS={has}, or take copies away by hand (`nats stream edit`)"
        )
    if name == "subjects" and (gone := set(has or []) - set(needs)):
        return f"the stream holds messages of {', '.join(sorted(gone))}"
    return ""


async def _make(connection: Connection, step: Step) -> None:
    wanted = step.wanted
    if isinstance(wanted, Stream):
        verb = "CREATE" if step.change is Change.CREATE else "UPDATE"
        config = dict(wanted.config)
        if step.change is Change.UPDATE:  # what an operator set beside our fields stays
            info = await request(connection, f"STREAM.INFO.{wanted.name}")
            config = {**(info or {"config": {}})["config"], **config}
        await request(connection, f"STREAM.{verb}.{wanted.name}", config, strict=True)
    else:
        body = {"stream_name": wanted.stream, "config": wanted.config}
        await request(connection, f"CONSUMER.CREATE.{wanted.stream}.{wanted.durable}", body, strict=True)


async def request(
    connection: Connection, call: str, body: Any = None, *, strict: bool = False, timeout_seconds: float = 5.0
) -> Any:
    """One call of the JetStream API; None where what it asks about does not exist.

    Raises:
        Unavailable: JetStream did not answer.
        Drift: the server refuses the call (always with `strict`).
    """
    data = json.dumps(body).encode() if body is not None else b""
    document = json.loads(await connection.ask(f"{connection.api_prefix}.{call}", data, timeout_seconds))
    error = document.get("error")
    if error is None:
        return document
    if not strict and error.get("err_code") in NOT_FOUND:
        return None
    raise Drift(f"{call}: {error.get('description')} ({error.get('err_code')})")


@asynccontextmanager
async def passing_consumer(connection: Connection, stream: str, purpose: str, **config: Any) -> AsyncIterator[str]:
    """A consumer that acknowledges nothing, for as long as the block lasts; its name. If nobody ends the block the
    broker forgets it after `FORGOTTEN_SECONDS` without a pull.

    Raises:
        Unavailable: JetStream did not answer.
        Drift: there is no such stream, or the broker refuses the configuration.
    """
    name = f"{purpose}-{time.time_ns():x}"
    own = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "inactive_threshold": int(FORGOTTEN_SECONDS * 1e9),
    }
    body = {"stream_name": stream, "config": own | config}
    await request(connection, f"CONSUMER.CREATE.{stream}.{name}", body, strict=True)
    try:
        yield name
    finally:
        if connection.is_connected:
            await request(connection, f"CONSUMER.DELETE.{stream}.{name}")
