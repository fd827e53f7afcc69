"""What an order costs when few are stored, and when very many are: the stories of real orders under ever new keys."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

from benchmarks import meshes, servers, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running, until
from benchmarks.processes import cpu_seconds, memory_bytes
from benchmarks.progress import Step
from jetmesh.failure import Unavailable
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.runtime.context import Context
from jetmesh.testing.jaeger import Jaeger
from jetmesh_shop.flow import SERVICES

PART = "stored"
FEW, MANY = 10_000, 300_000
"""Measured on the way to more than that, too."""
MODELS = 500
"""So many orders go through the mesh, to be copied."""
GOAL = "1.15 ×"
STREAMS = [service.stream for service in SERVICES if service.records]
Models: TypeAlias = Mapping[str, Sequence[Stored]]
"""By stream."""


class Cost(NamedTuple):
    """Microseconds of an order."""

    services: float
    broker: float


class Rest(NamedTuple):
    """The broker with so many orders stored: what it holds in memory, and how long it takes to be there again."""

    memory_bytes: int
    restart_seconds: float


async def run(count: int, most: int, step: Step) -> list[Row]:
    """The same number of orders on one mesh, beside ever more stored ones; in the end the broker is killed and comes
    back."""
    skus = workload.articles()
    levels = [FEW, *(level for level in (MANY,) if level < most), most]
    with Jaeger() as jaeger:
        async with meshes.started(jaeger.otlp_http, skus=skus) as running:
            step("orders to copy")
            await running.take(list(workload.good_orders("model", MODELS, skus)))
            copied = {stream: await models(running, stream) for stream in STREAMS}
            costs: dict[int, Cost] = {}
            for already, stored in zip([0, *levels], levels, strict=False):
                step(f"storing {stored:,} orders")
                await _store(running, skus, copied, already=already, stored=stored)
                step(f"{count:,} orders beside {stored:,} stored ones")
                costs[stored] = await _cost(running, f"beside-{stored}", count, skus)
            step("the broker's memory and restart")
            rested = await rest(running)
    rows = [row for who in Cost._fields for row in _rows(who, count, {n: getattr(c, who) for n, c in costs.items()})]
    return [*rows, *_broker_rows(most, rested)]


def _rows(who: str, count: int, costs: Mapping[int, float]) -> list[Row]:
    what = f"CPU of an order, {who}, beside {{:,}} stored (bursts of {count:,})"
    few, *more = costs.items()
    return [
        Row(PART, what.format(few[0]), "jetmesh", few[1], "µs"),
        *(Row(PART, what.format(stored), "jetmesh", cost, "µs", cost / few[1], goal=GOAL) for stored, cost in more),
    ]


def _broker_rows(most: int, rest: Rest) -> list[Row]:
    what = f"the broker with {most:,} orders stored"
    return [
        Row(PART, f"{what}: memory", "nats-server", rest.memory_bytes / 1e6, "MB"),
        Row(PART, f"{what}: killed, until it answers again", "nats-server", rest.restart_seconds, "s"),
    ]


async def rest(running: Running) -> Rest:
    """Without the services, so that nothing is asked of it meanwhile."""
    running.processes.stop(*running.processes)
    memory = memory_bytes(running.broker.pid)
    began = time.perf_counter()
    await asyncio.to_thread(running.broker.restart)
    async with meshes.connected(running.broker.url) as client:
        for stream in STREAMS:
            await until(partial(_answers, client, stream), 1, "leader", seconds_max=servers.START_SECONDS_MAX)
    return Rest(memory, time.perf_counter() - began)


async def _answers(client: Context, stream: str) -> int:
    """1 once it does."""
    try:
        return int(await request(client.connection, f"STREAM.INFO.{stream}") is not None)
    except Unavailable:
        return 0


async def _cost(running: Running, name: str, count: int, skus: Sequence[str]) -> Cost:
    before = cpu_seconds(running.broker.pid)
    drained = await running.take(list(workload.good_orders(name, count, skus)))
    broker = (cpu_seconds(running.broker.pid) - before) / count * 1e6
    return Cost(services=drained.cpu_micros_per_order, broker=broker)


async def models(running: Running, stream: str) -> list[Stored]:
    """The stories that are copied, as far as they are in this stream."""
    stored = await stream_reader.read(running.client.connection, stream)
    return [message for message in stored if message.key.startswith("o-model-")]


async def copy(running: Running, stories: Models, *, already: int, stored: int) -> None:
    """Until the streams hold so many orders."""
    first, last = already // MODELS, stored // MODELS
    await asyncio.gather(*(_publish(running, _copies(found, first, last)) for found in stories.values()))


async def _store(running: Running, skus: Sequence[str], stories: Models, *, already: int, stored: int) -> None:
    """Make the streams hold so many orders. Nobody shall react to the copies: the services stop meanwhile, and their
    durables go on behind them."""
    running.processes.stop(*running.processes)
    await copy(running, stories, already=already, stored=stored)
    for consumer in running.consumers:
        info = await request(running.client.connection, f"STREAM.INFO.{consumer.stream}", strict=True)
        end = {"seq": int(info["state"]["last_seq"]) + 1}
        await request(
            running.client.connection, f"CONSUMER.RESET.{consumer.stream}.{consumer.durable}", end, strict=True
        )
    meshes.start(running, *meshes.NAMES)
    await running.pulled()
    await running.take(list(workload.good_orders(f"warm-{stored}", MODELS, skus)))


def _copies(stories: Sequence[Stored], first: int, last: int) -> Iterator[Message]:
    """The stories once for each number, under keys of their own."""
    for number in range(first, last):
        for message in stories:
            key = message.key.replace("model", f"copy-{number}")
            headers = {name: value for name, value in message.headers.items() if not name.startswith("Nats-")}
            yield Message(f"{message.type}.{key}", message.data.replace(message.key.encode(), key.encode()), headers)


async def _publish(running: Running, messages: Iterator[Message]) -> None:
    """All of them, in atomic batches one after the other."""
    while batch := list(islice(messages, BATCH_MAX)):
        await running.client.publisher.record_all(batch)
