"""A room with a thousand readers: how long from when a message was due until each of them has it, open loop.

The service is a process, and so is the broker; the readers are those of one application, which follows the room once.
"""

import asyncio
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import jetmesh
from benchmarks import meshes, servers
from benchmarks.figures import Row, quantile
from benchmarks.processes import Processes
from benchmarks.progress import Step
from examples.chat.client import Feed, Rooms
from examples.chat.service import SERVICES
from jetmesh.topology import provision
from jetmesh.topology.streams import topology

PART = "chat"
APP = "examples.chat.service:SERVICES"
ROOM = "room-1"
READERS, RATE, SENDERS = 1_000, 200.0, 20
WARM_UP_SECONDS = 2.0
LATE_SECONDS = 60.0


async def run(seconds: float, step: Step) -> list[Row]:
    """One room, one service, one application with all the readers."""
    async with _rooms() as (rooms, processes):
        await rooms.open(ROOM, "benchmark")
        step(f"{READERS:,} members join")
        await asyncio.gather(*(rooms.join(ROOM, f"m-{n}", f"in-{n}") for n in range(READERS)))
        step("warming up")
        await _talk(rooms, "warm", WARM_UP_SECONDS)
        step(f"{RATE:g} messages a second to {READERS:,} readers for {seconds:g} s")
        before, began = processes.cpu_seconds()["chat"], time.process_time()
        latencies, wrong = await _talk(rooms, "run", seconds)
        count = round(RATE * seconds)
        service = (processes.cpu_seconds()["chat"] - before) / count * 1e6
        readers = (time.process_time() - began) / count * 1e6
    what = f"{RATE:g} messages/s to {READERS:,} readers"
    return [
        *(Row(PART, f"{what}, p{share * 100:g}", "jetmesh", quantile(latencies, share), "ms")
          for share in (0.5, 0.99)),
        Row(PART, f"{what}: readers that saw another order, or not all", "jetmesh", wrong, ""),
        Row(PART, f"{what}: CPU of a message, service", "jetmesh", service, "µs"),
        Row(PART, f"{what}: CPU of a message, senders and readers", "jetmesh", readers, "µs"),
    ]  # fmt: skip


@asynccontextmanager
async def _rooms() -> AsyncIterator[tuple[Rooms, Processes]]:
    """A broker, the service, and the application's connection."""
    with (
        servers.broker(servers.ALWAYS) as broker,
        tempfile.TemporaryDirectory(prefix="benchmark-chat-") as folder,
        Processes(Path(folder), _environment(broker.url, folder)) as processes,
    ):
        async with meshes.connected(broker.url) as client:
            await provision.apply(client.connection, await provision.plan(client.connection, topology(SERVICES)))
        processes.start("chat", "jetmesh", "run", "chat")
        async with jetmesh.connect(broker.url, name="application") as mesh:
            yield Rooms(mesh, wait_seconds=LATE_SECONDS), processes


def _environment(url: str, folder: str) -> Mapping[str, str]:
    return {
        "NATS_URL": url,
        "JETMESH_APP": APP,
        "JETMESH_STATE": folder,
        "JETMESH_LOG_LEVEL": "WARNING",
        "OTEL_SDK_DISABLED": "true",
    }


async def _talk(rooms: Rooms, name: str, seconds: float) -> tuple["array[float]", int]:
    """Milliseconds until each reader had each message; and how many readers saw another order, or not all."""
    count = round(RATE * seconds)
    feed, due, latencies = Feed(), dict[str, float](), array("d")
    readers = [asyncio.create_task(_read(feed, count, due, latencies)) for _ in range(READERS)]
    running = asyncio.create_task(feed.run(rooms, ROOM, await _end(rooms)))
    try:
        await _send(rooms, name, count, due)
        seen = await asyncio.wait_for(asyncio.gather(*readers), LATE_SECONDS)
    finally:
        running.cancel()
    return latencies, sum(one != seen[0] or len(set(one)) != count for one in seen)


async def _end(rooms: Rooms) -> int:
    """The position of the last message."""
    position, left = 0, 1
    while left:
        page = await rooms.history(ROOM, after=position, limit=500)
        position, left = page.messages[-1].position if page.messages else position, page.left
    return position


async def _send(rooms: Rooms, name: str, count: int, due: dict[str, float]) -> None:
    """Each message at its instant, without waiting for those before it."""
    began = time.time()
    async with asyncio.TaskGroup() as sending:
        for number in range(count):
            message_id = f"{name}-{number}"
            due[message_id] = began + number / RATE
            await asyncio.sleep(max(0.0, due[message_id] - time.time()))
            sending.create_task(rooms.send(ROOM, f"m-{number % SENDERS}", message_id, f"message {number}"))


async def _read(feed: Feed, count: int, due: Mapping[str, float], latencies: "array[float]") -> list[int]:
    """The positions of so many messages, as one reader gets them."""
    seen: list[int] = []
    async with aclosing(feed.batches()) as batches:
        async for batch in batches:
            now = time.time()
            latencies.extend((now - due[entry.event.message_id]) * 1e3 for entry in batch)
            seen += [entry.position for entry in batch]
            if len(seen) >= count:
                break
    return seen
