"""A room with a thousand readers: how long from when a message was due until each of them has it, open loop.

The service is a process, and so is the broker; the readers are those of one application, which follows the room once.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import jetmesh
from benchmarks import meshes, servers
from benchmarks.figures import Row, quantile
from benchmarks.processes import Processes
from benchmarks.progress import Step
from examples.chat.client import Entry, Feed, Rooms
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


async def _talk(rooms: Rooms, name: str, seconds: float) -> tuple[list[float], int]:
    """Milliseconds until each reader had each message; and how many readers saw another order, or not all."""
    count = round(RATE * seconds)
    feed = Feed()
    readers = [asyncio.create_task(_read(feed, count)) for _ in range(READERS)]
    running = asyncio.create_task(feed.run(rooms, ROOM, await _end(rooms)))
    try:
        due = await _send(rooms, name, count)
        read = await asyncio.wait_for(asyncio.gather(*readers), LATE_SECONDS)
    finally:
        running.cancel()
    latencies = [(now - due[entry.event.message_id]) * 1e3 for one in read for now, batch in one for entry in batch]
    seen = [[entry.position for _, batch in one for entry in batch] for one in read]
    return latencies, sum(one != seen[0] or len(set(one)) != count for one in seen)


async def _end(rooms: Rooms) -> int:
    """The position of the last message."""
    position, left = 0, 1
    while left:
        page = await rooms.history(ROOM, after=position, limit=500)
        position, left = page.messages[-1].position if page.messages else position, page.left
    return position


async def _send(rooms: Rooms, name: str, count: int) -> dict[str, float]:
    """Each message at its instant, without waiting for those before it; when each was due, Unix time in seconds."""
    began, due = time.time(), dict[str, float]()
    async with asyncio.TaskGroup() as sending:
        for number in range(count):
            message_id = f"{name}-{number}"
            due[message_id] = began + number / RATE
            await asyncio.sleep(max(0.0, due[message_id] - time.time()))
            sending.create_task(rooms.send(ROOM, f"m-{number % SENDERS}", message_id, f"message {number}"))
    return due


async def _read(feed: Feed, count: int) -> list[tuple[float, tuple[Entry, ...]]]:
    """So many messages as one reader gets them, and when: what is compared with whom is found out once all are there,
    so that it takes nothing of the processor meanwhile."""
    read: list[tuple[float, tuple[Entry, ...]]] = []
    left = count
    async with aclosing(feed.batches()) as batches:
        async for batch in batches:
            read.append((time.time(), batch))
            left -= len(batch)
            if left <= 0:
                break
    return read
