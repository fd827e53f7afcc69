"""What an order costs when few are stored, and when very many are: the stories of real orders under ever new keys."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, TypeAlias

from benchmarks import bulk, meshes, servers, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running, until
from benchmarks.processes import memory_bytes
from benchmarks.progress import Step
from jetmesh.failure import Unavailable
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import Nats, encode_headers
from jetmesh.runtime.context import Context
from jetmesh_shop.flow import SERVICES

PART = "stored"
FEW, MANY = 10_000, 300_000
"""Measured on the way to more than that, too."""
MODELS = 500
"""So many orders go through the mesh, to be copied."""
MODEL = "o-model-"
"""How their keys begin."""
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
    levels = [FEW, *(level for level in (MANY,) if level < most), most]
    async with meshes.ours() as running:
        step("orders to copy")
        await running.take(list(workload.good_orders("model", MODELS, running.skus)))
        copied = {stream: await models(running, stream) for stream in STREAMS}
        costs: dict[int, Cost] = {}
        for already, stored in zip([0, *levels], levels, strict=False):
            step(f"storing {stored:,} orders")
            await _store(running, copied, already=already, stored=stored)
            step(f"{count:,} orders beside {stored:,} stored ones")
            costs[stored] = await _cost(running, f"beside-{stored}", count)
        step("the broker's memory and restart")
        rested = await rest(running)
    rows = [row for who in Cost._fields for row in _rows(who, count, {n: getattr(c, who) for n, c in costs.items()})]
    return [*rows, *_broker_rows(most, rested)]


def _rows(who: str, count: int, costs: Mapping[int, float]) -> list[Row]:
    what = f"CPU of an order, {who}, beside {{:,}} stored (bursts of {count:,})"
    few, *more = costs.items()
    return [
        Row(PART, what.format(few[0]), "jetmesh", few[1], "µs"),
        *(Row(PART, what.format(stored), "jetmesh", cost, "µs", cost / few[1]) for stored, cost in more),
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
        await _all_answer(client)
    return Rest(memory, time.perf_counter() - began)


async def _all_answer(client: Context) -> None:
    """Until each stream does."""
    for stream in STREAMS:
        await until(partial(_answers, client, stream), 1, "leader", seconds_max=servers.START_SECONDS_MAX)


async def _answers(client: Context, stream: str) -> int:
    """1 once it does."""
    try:
        return int(await request(client.connection, f"STREAM.INFO.{stream}") is not None)
    except Unavailable:
        return 0


async def _cost(running: Running, name: str, count: int) -> Cost:
    drained = await running.take(list(workload.good_orders(name, count, running.skus)))
    return Cost(services=drained.cpu_micros_per_order, broker=drained.broker_cpu_micros_per_order)


async def models(running: Running, stream: str) -> list[Stored]:
    """The stories that are copied, as far as they are in this stream."""
    stored = await stream_reader.read(running.client.connection, stream)
    return [message for message in stored if message.key.startswith(MODEL)]


async def _store(running: Running, stories: Models, *, already: int, stored: int) -> None:
    """Make the streams hold so many orders. Nobody shall react to the copies: the services stop meanwhile, and their
    durables go on behind them."""
    running.processes.stop(*running.processes)
    async with unsynced(running):
        await copy(running, stories, already=already, stored=stored)
    for consumer in running.consumers:
        end = {"seq": await _last_sequence(running, consumer.stream) + 1}
        place = f"{consumer.stream}.{consumer.durable}"
        await request(running.client.connection, f"CONSUMER.RESET.{place}", end, strict=True)
    meshes.start(running, *meshes.NAMES)
    await running.pulled()
    await running.take(list(workload.good_orders(f"warm-{stored}", MODELS, running.skus)))


@asynccontextmanager
async def unsynced(running: Running) -> AsyncIterator[None]:
    """The broker does not sync for the block, in which nobody needs to know what has reached the disk."""
    await asyncio.to_thread(servers.restart_on, running.broker, servers.DEFAULT_SYNC)
    await _all_answer(running.client)
    yield
    await asyncio.to_thread(servers.restart_on, running.broker, servers.ALWAYS)
    await _all_answer(running.client)


async def copy(running: Running, stories: Models, *, already: int, stored: int) -> None:
    """Until the streams hold so many orders, all streams at once."""
    numbers = range(already // MODELS, stored // MODELS)
    await asyncio.gather(*(_copy(running, stream, found, numbers) for stream, found in stories.items()))


async def _copy(running: Running, stream: str, story: Sequence[Stored], numbers: range) -> None:
    """The stories once for each number, under keys of their own.

    Raises:
        RuntimeError: the stream has not stored all of them.
    """
    before = await _last_sequence(running, stream)
    templates = list(bulk.chunks(stream, map(_frame, story)))
    names = (_prefix(number) for number in numbers)
    await bulk.publish(running.broker.url, stream, bulk.renamed(templates, _prefix(0), names))
    found, wanted = await _last_sequence(running, stream) - before, len(story) * len(numbers)
    if found != wanted:
        raise RuntimeError(f"{stream} has stored {found:,} of {wanted:,} copies")


def _frame(message: Stored) -> bulk.Frame:
    """Of the first copy."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith(Nats.PREFIX)}
    old, new = MODEL.encode(), _prefix(0)
    subject = message.subject.replace(MODEL, new.decode())
    return bulk.Frame(subject, encode_headers(headers).replace(old, new), message.data.replace(old, new))


def _prefix(number: int) -> bytes:
    """How the keys of a copy begin, all equally long."""
    return f"o-copy-{number:06}-".encode()


async def _last_sequence(running: Running, stream: str) -> int:
    info = await request(running.client.connection, f"STREAM.INFO.{stream}", strict=True)
    return int(info["state"]["last_seq"])
