"""What an order costs when few are stored, and when very many are: the stories of real orders under ever new keys."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from benchmarks import meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.processes import cpu_seconds
from benchmarks.progress import Step
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.testing.jaeger import Jaeger
from jetmesh_shop.flow import SERVICES

PART = "stored"
FEW = 10_000
MODELS = 500
"""So many orders go through the mesh, to be copied."""
GOAL = "1.15 ×"
STREAMS = [service.stream for service in SERVICES if service.records]


class Cost(NamedTuple):
    """Microseconds of an order."""

    services: float
    broker: float


async def run(count: int, many: int, step: Step) -> list[Row]:
    """The same number of orders on one mesh, beside `FEW` stored ones and beside `many`."""
    skus = workload.articles()
    with Jaeger() as jaeger:
        async with meshes.started(jaeger.otlp_http, skus=skus) as running:
            step("orders to copy")
            await running.take(list(workload.good_orders("model", MODELS, skus)))
            costs: list[Cost] = []
            for stored in (FEW, many):
                step(f"storing {stored:,} orders")
                await _store(running, skus, already=len(costs) * FEW, stored=stored)
                step(f"{count:,} orders beside {stored:,} stored ones")
                costs.append(await _cost(running, f"beside-{stored}", count, skus))
    few, very_many = costs
    return [row for who in Cost._fields for row in _rows(who, count, many, getattr(few, who), getattr(very_many, who))]


def _rows(who: str, count: int, many: int, few: float, very_many: float) -> list[Row]:
    what = f"CPU of an order, {who}, beside {{:,}} stored (bursts of {count:,})"
    return [
        Row(PART, what.format(FEW), "jetmesh", few, "µs"),
        Row(PART, what.format(many), "jetmesh", very_many, "µs", very_many / few, goal=GOAL),
    ]


async def _cost(running: Running, name: str, count: int, skus: Sequence[str]) -> Cost:
    before = cpu_seconds(running.broker.pid)
    drained = await running.take(list(workload.good_orders(name, count, skus)))
    broker = (cpu_seconds(running.broker.pid) - before) / count * 1e6
    return Cost(services=drained.cpu_micros_per_order, broker=broker)


async def _store(running: Running, skus: Sequence[str], *, already: int, stored: int) -> None:
    """Make the streams hold so many orders. Nobody shall react to the copies: the services stop meanwhile, and their
    durables go on behind them."""
    running.processes.stop(*running.processes)
    for stream in STREAMS:
        stories = [
            m for m in await stream_reader.read(running.client.connection, stream) if m.key.startswith("o-model-")
        ]
        await _publish(running, _copies(stories, already // MODELS, stored // MODELS))
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
