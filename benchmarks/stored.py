"""What an order costs when few are stored, and when very many are: the stories of real orders under ever new keys."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import NamedTuple, TypeAlias

from benchmarks import bulk, meshes, servers, workload
from benchmarks.figures import Row, spread
from benchmarks.meshes import Running, until
from benchmarks.processes import cpu_seconds, memory_bytes
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
CALM_SECONDS, CALM_SHARE = 1.0, 0.1
"""It is calm again if for so long it takes at most so much of a core."""
MODEL = "o-model-"
"""How their keys begin."""
STREAMS = [service.stream for service in SERVICES if service.records]
Models: TypeAlias = Mapping[str, Sequence[Stored]]
"""By stream."""


class Cost(NamedTuple):
    """Microseconds of an order."""

    services: float
    broker: float


Pair: TypeAlias = tuple[Cost, Cost]
"""Beside few, and beside many."""


class Rest(NamedTuple):
    """The broker with so many orders stored: what it holds in memory, and how long it takes to be there again."""

    memory_bytes: int
    restart_seconds: float


async def run(count: int, rounds: int, most: int, step: Step) -> list[Row]:
    """The same orders beside few stored ones and beside ever more, on two meshes by turns; in the end the broker that
    holds most is killed and comes back."""
    levels = [*(level for level in (MANY,) if level < most), most]
    async with meshes.ours() as few, meshes.ours() as many:
        step(f"storing {FEW:,} orders")
        copied = await _models(few)
        await _store(few, copied, already=0, stored=FEW)
        pairs: dict[int, list[Pair]] = {}
        for already, stored in zip([0, *levels], levels, strict=False):
            step(f"storing {stored:,} orders")
            await _store(many, copied, already=already, stored=stored)
            await _calm(many)
            step(f"{count:,} orders beside {FEW:,} and beside {stored:,} stored ones, {rounds} times")
            pairs[stored] = [await _pair(few, many, f"beside-{stored}-{number}", count) for number in range(rounds)]
        step("the broker's memory and restart")
        few.processes.stop(*few.processes)
        rested = await rest(many)
    return [*(row for who in Cost._fields for row in _rows(who, count, pairs)), *_broker_rows(most, rested)]


async def _models(running: Running) -> Models:
    """The stories of orders that went through the mesh, to be copied."""
    await running.take(list(workload.good_orders("model", MODELS, running.skus)))
    return {stream: await models(running, stream) for stream in STREAMS}


async def _calm(running: Running) -> None:
    """Until the broker has done what the copies left for it to do."""

    async def is_calm() -> int:
        before = cpu_seconds(running.broker.pid)
        await asyncio.sleep(CALM_SECONDS)
        return int(cpu_seconds(running.broker.pid) - before <= CALM_SHARE * CALM_SECONDS)

    await until(is_calm, 1, "calm broker")


async def _pair(few: Running, many: Running, name: str, count: int) -> Pair:
    """What an order takes on each, one after the other."""
    return await _cost(few, name, count), await _cost(many, name, count)


def _rows(who: str, count: int, pairs: Mapping[int, Sequence[Pair]]) -> Iterator[Row]:
    """The medians, and of each level the median of its pairs' ratios."""
    what = f"CPU of an order, {who}, beside {{:,}} stored (bursts of {count:,})"
    costs = {stored: [[getattr(cost, who) for cost in side] for side in zip(*found, strict=True)]
             for stored, found in pairs.items()}  # fmt: skip
    few = [cost for less, _ in costs.values() for cost in less]
    yield Row(PART, what.format(FEW), "jetmesh", median(few), "µs", spread=spread(few))
    for stored, (less, more) in costs.items():
        ratio = median(after / before for before, after in zip(less, more, strict=True))
        yield Row(PART, what.format(stored), "jetmesh", median(more), "µs", ratio, spread(more))


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
