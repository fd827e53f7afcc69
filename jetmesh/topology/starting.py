"""Where a new durable begins: in the past, now, or where the durable of the reaction's former name has come to.

A durable's beginning can't be changed later, and its past events have their effects again: so a new durable on a stream
that holds some is a decision, of the declaration or of whoever applies it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jetmesh.jetstream.api import FOR_GOOD, passing_consumer, pause, request
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.leader_get import next_message
from jetmesh.jetstream.transport import Transport
from jetmesh.since import Since
from jetmesh.topology.difference import RENAMED, START
from jetmesh.topology.streams import Consumer, ConsumerKind, start_of

REST_SECONDS, LOOK_SECONDS = 10.0, 0.1
"""How long a hand-over waits for the deliveries that are under way, and how often it looks."""


@dataclass(frozen=True, slots=True)
class Starts:
    """What is said about new durables beside the declarations."""

    said: Mapping[str, Since] = field(default_factory=dict)
    """By `service.reaction`, or by the name of a service."""
    unsaid: Since | None = None
    """For those about which nothing is said or declared; None: that is refused where there are past events."""
    floors: Mapping[str, int] = field(default_factory=dict)
    """The last sequence that a durable has settled, by `stream/durable`: it goes on behind that."""

    def of(self, consumer: Consumer) -> Since | None:
        """Where a durable shall begin, if anybody says."""
        own, whole = f"{consumer.service}.{consumer.reaction}", consumer.service
        return self.said.get(own) or self.said.get(whole) or consumer.since or self.unsaid


ASKED = Starts()
"""Only what is declared: the rest is asked for."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a new durable begins, and in words what of the past it reads. `is_open`: nobody has said so yet."""

    config: Config
    words: str = ""
    is_open: bool = False
    former: str = ""
    """The durable whose work it goes on with."""


async def start(connection: Transport, consumer: Consumer, starts: Starts) -> Start:
    """Where a durable that is not there yet begins on its stream, which is."""
    place = f"{consumer.stream}/{consumer.durable}"
    if place in starts.floors:
        return Start(_behind(starts.floors[place]))
    if not consumer.reaction:
        return Start({})
    if consumer.kind is ConsumerKind.EXPRESS:
        config = await beside(connection, consumer)
        return Start(config, f"it begins where {consumer.ordinary} has come to" if config else "")
    if former := await _former(connection, consumer):
        return former
    chosen = starts.of(consumer)
    past = await _count(connection, consumer, "beginning")
    if not past:
        return Start(start_of(chosen))
    if chosen is None:
        first = await _first_time(connection, consumer)
        return Start({}, _question(consumer, past, first), is_open=True)
    read = past if chosen == "beginning" else 0 if chosen == "now" else await _count(connection, consumer, chosen)
    return Start(start_of(chosen), f"it reads {f'{read:,}' if read else 'none'} of {past:,} past events")


async def beside(connection: Transport, consumer: Consumer) -> Config:
    """The start of an express durable: behind what the ordinary one has settled; nothing while there is none."""
    info = await request(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.ordinary}")
    return _behind(int(info["ack_floor"].get("stream_seq", 0))) if info else {}


def _question(consumer: Consumer, past: int, first: str) -> str:
    name = f"{consumer.service}.{consumer.reaction}"
    return (
        f"it would read {past:,} past events, the first of {first}: declare `since=` at {name}, or say "
        f"`--since {name}=now` (or beginning, or a time)"
    )


def begun(config: Config, start: Config) -> Config:
    """A durable's configuration with another start than the declared one, which says at most one of them."""
    return {**{name: value for name, value in config.items() if name not in START}, **start} if start else config


def _behind(sequence: int) -> Config:
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence + 1}


async def _former(connection: Transport, consumer: Consumer) -> Start | None:
    """The start behind the durable of a former name, the newest that is there."""
    for name in reversed(consumer.formerly):
        durable = f"{consumer.service}-{name}"
        if info := await request(connection, f"CONSUMER.INFO.{consumer.stream}.{durable}"):
            waiting, under_way = info["num_pending"], info["num_ack_pending"]
            words = f"it goes on for {durable}: {waiting:,} wait, {under_way:,} are under way"
            return Start(_behind(info["ack_floor"]["stream_seq"]), words, former=durable)
    return None


async def _count(connection: Transport, consumer: Consumer, since: Since) -> int:
    """How many stored events a durable that begins there would get."""
    config = {"filter_subjects": list(consumer.subjects), "num_replicas": 1, **start_of(since)}
    async with passing_consumer(connection, consumer.stream, "plan", **config) as name:
        info = await request(connection, f"CONSUMER.INFO.{consumer.stream}.{name}", strict=True)
    return int(info["num_pending"])


async def _first_time(connection: Transport, consumer: Consumer) -> str:
    """When the first of its past events was stored, to the second."""
    found = [await next_message(connection, consumer.stream, 1, subject) for subject in consumer.subjects]
    first = min((each.timestamp for each in found if each), default=0.0)
    return f"{datetime.fromtimestamp(first, UTC):%Y-%m-%dT%H:%M:%SZ}"


async def hand_over(connection: Transport, stream: str, former: str, config: Config) -> None:
    """Let the durable of `config` go on with the work of the former one, which rests from then on.

    Processes of the version before finish what they have. What they have not within `REST_SECONDS`, and what was
    settled behind it, is delivered again. An interrupted hand-over is done again from its beginning.
    """
    durable = str(config["durable_name"])
    await _rest(connection, stream, former, durable)
    floor = int((await _quiet(connection, stream, former))["ack_floor"]["stream_seq"])
    there = await request(connection, f"CONSUMER.INFO.{stream}.{durable}")
    if there is None:
        await _set(connection, stream, begun(config, _behind(floor)))
        return
    await _set(connection, stream, config)
    await pause(connection, stream, durable, None)
    if floor > int(there["ack_floor"]["stream_seq"]):
        await request(connection, f"CONSUMER.RESET.{stream}.{durable}", {"seq": floor + 1}, strict=True)


async def _rest(connection: Transport, stream: str, former: str, successor: str) -> None:
    """Note at the former durable who goes on with its work, and pause it."""
    info = await request(connection, f"CONSUMER.INFO.{stream}.{former}", strict=True)
    metadata = {**(info["config"].get("metadata") or {}), RENAMED: successor}
    await _set(connection, stream, {**info["config"], "metadata": metadata})
    await pause(connection, stream, former, datetime.now(UTC) + FOR_GOOD)


async def _quiet(connection: Transport, stream: str, durable: str) -> Any:
    """The state of a paused durable once nothing of it is under way, or after a while."""
    ends = asyncio.get_running_loop().time() + REST_SECONDS
    while True:
        info = await request(connection, f"CONSUMER.INFO.{stream}.{durable}", strict=True)
        if not info["num_ack_pending"] or asyncio.get_running_loop().time() >= ends:
            return info
        await asyncio.sleep(LOOK_SECONDS)


async def _set(connection: Transport, stream: str, config: Config) -> None:
    body = {"stream_name": stream, "config": config}
    await request(connection, f"CONSUMER.CREATE.{stream}.{config['durable_name']}", body, strict=True)
