"""What a service holds while it drains a backlog, how soon it works after its start, what the mesh costs when idle."""

import asyncio
import time

from benchmarks import meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.progress import Step
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.clock import unix_nano
from jetmesh.operate.load import publish_all
from jetmesh.testing.jaeger import Jaeger

PART = "memory"
GOAL_BYTES = {"analytics": "200 MB"}
IDLE_SECONDS = 10.0
STARTING = "payments"


async def run(count: int, step: Step) -> list[Row]:
    """A backlog before the mesh starts, then quiet, then one service that starts again to find one order waiting."""
    skus = workload.articles()
    with Jaeger() as jaeger:
        async with meshes.jetmesh(jaeger.otlp_http, skus=skus) as running:
            step(f"a backlog of {count:,} orders")
            rows = await _backlog(running, count, skus)
            step("an idle mesh")
            rows.append(await _idle(running))
            step("a service's start")
            rows.append(await _start(running, skus))
    return rows


async def _backlog(running: Running, count: int, skus: list[str]) -> list[Row]:
    """The shelves are filled first, by inventory alone: orders that wait would otherwise find them empty."""
    meshes.start(running, "inventory")
    await meshes.fill_shelves(running, workload.restocks(skus))
    running.processes.stop("inventory")
    await publish_all(running.client, workload.orders("backlog", count, skus))
    meshes.start(running, *meshes.NAMES)
    await running.pulled()
    await running.drained()
    memory = running.processes.memory_bytes()
    what = f"memory while draining {count:,} orders"
    return [
        Row(PART, what, name, memory[name] / 1e6, "MB", goal=GOAL_BYTES.get(name, "100 MB")) for name in meshes.NAMES
    ]


async def _idle(running: Running) -> Row:
    before = running.processes.cpu_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    after = running.processes.cpu_seconds()
    used = sum(after[name] - before[name] for name in meshes.NAMES)
    return Row(PART, "idle mesh, five services: share of a core", "jetmesh", 100 * used / IDLE_SECONDS, "%", goal="2 %")


async def _start(running: Running, skus: list[str]) -> Row:
    """From the start of the process to the first event that it records."""
    running.processes.stop(STARTING)
    (order,) = workload.good_orders("first", 1, skus)
    await publish_all(running.client, [order])
    started_unix_nano = time.time_ns()
    meshes.start(running, STARTING)
    await running.pulled(STARTING)
    await running.drained()
    (authorized,) = await stream_reader.read(running.client.connection, "PAYMENTS", f"payments.authorized.{order.key}")
    seconds = (unix_nano(authorized.time) - started_unix_nano) / 1e9
    return Row(PART, "one service: start to first handled event", "jetmesh", seconds, "s", goal="1.5 s")
