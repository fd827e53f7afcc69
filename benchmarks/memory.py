"""What a service holds while it drains a backlog, how soon it works after its start, what the mesh costs when idle."""

import asyncio
import time

from benchmarks import latency, meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.progress import Step
from benchmarks.scene import Shared
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.operate.load import publish_all

PART = "memory"
IDLE_SECONDS = 5.0
STARTING = "payments"
BURST_MAX = 10_000
"""The burst that the backlog is compared with has half as many orders, and so many at most."""


def part(count: int) -> Shared:
    """A burst; a backlog before the services start, then quiet, then one service that starts again to find one order
    waiting."""

    async def ours(running: Running, step: Step) -> list[Row]:
        step("a burst")
        burst = await _burst(running, max(1, min(count // 2, BURST_MAX)))
        step(f"a backlog of {count:,} orders")
        rows = await _backlog(running, count, burst)
        step("an idle mesh")
        rows.append(await _idle(running))
        step("a service's start")
        return [*rows, await _start(running)]

    return Shared(ours)


async def _burst(running: Running, count: int) -> float:
    """Orders a second, from the first publish until everything is drained."""
    drained = await running.take(list(workload.good_orders("before-backlog", count, running.skus)))
    return count / drained.drained_seconds


async def _backlog(running: Running, count: int, burst: float) -> list[Row]:
    """Everything is drained, by processes that hold nothing of the burst."""
    running.processes.stop(*running.processes)
    await publish_all(running.client, workload.good_orders("backlog", count, running.skus))
    first = await latency.next_of_orders(running)
    meshes.start(running, *meshes.NAMES)
    await running.pulled()
    await running.drained()
    rate = count / (time.time() - await _stored_at(running, first))
    memory = running.processes.memory_bytes()
    what = f"memory while draining {count:,} orders"
    rates = f"draining, of a backlog of {count:,} orders and of a burst"
    return [
        *(Row(PART, what, name, memory[name] / 1e6, "MB")
          for name in meshes.NAMES),
        Row(PART, rates, "a burst", burst, "/s"),
        Row(PART, rates, "a backlog", rate, "/s", rate / burst),
    ]  # fmt: skip


async def _stored_at(running: Running, sequence: int) -> float:
    """When orders recorded its event of this sequence: with the first one the services have loaded what they need."""
    found = await request(running.client.connection, "STREAM.MSG.GET.ORDERS", {"seq": sequence}, strict=True)
    return unix_nano(found["message"]["time"]) / 1e9


async def _idle(running: Running) -> Row:
    before = running.processes.cpu_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    after = running.processes.cpu_seconds()
    used = sum(after[name] - before[name] for name in meshes.NAMES)
    return Row(PART, "idle mesh, five services: share of a core", "jetmesh", 100 * used / IDLE_SECONDS, "%")


async def _start(running: Running) -> Row:
    """From the start of the process to the first event that it records."""
    running.processes.stop(STARTING)
    (order,) = workload.good_orders("first", 1, running.skus)
    await publish_all(running.client, [order])
    started_unix_nano = time.time_ns()
    meshes.start(running, STARTING)
    await running.pulled(STARTING)
    await running.drained()
    (authorized,) = await stream_reader.read(running.client.connection, "PAYMENTS", f"payments.authorized.{order.key}")
    seconds = (unix_nano(authorized.time) - started_unix_nano) / 1e9
    return Row(PART, "one service: start to first handled event", "jetmesh", seconds, "s")
