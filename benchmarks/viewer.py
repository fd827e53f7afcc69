"""What somebody who looks at the console costs the mesh, by turns with a viewer and without: in windows that follow one
another while the mesh is busy, and at rest."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import TypeAlias

from benchmarks import meshes, workload
from benchmarks.meshes import Running
from benchmarks.processes import cpu_seconds
from benchmarks.progress import Step
from jetmesh.jetstream.api import request
from jetmesh.operate.load import publish_all

WINDOW_SECONDS = 1.0
"""The console reads once or twice in so long while somebody looks."""
SETTLING_SECONDS = 0.3
BUSY_SECONDS, FEED_SECONDS = 2.0, 0.1
WAITING, DELIVERIES = 3_000, 10
"""Deliveries that wait while the mesh is busy, mails among them; and those of an order."""
ORDERS_MAX = 10_000_000

Looking: TypeAlias = Callable[[int], AbstractAsyncContextManager[None]]
"""So many viewers look for the block."""


async def dearer(running: Running, looking: Looking, pairs: int, step: Step) -> list[float]:
    """How many times as much of the processor an event takes with a viewer while the mesh is busy, of each pair of
    neighbouring windows; every other pair begins with the viewer. Services, broker and console count: where all cores
    are used up, what they take for the same is how long it lasts, and their rate alone differs by more."""
    found = []
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(_feed(running))
        await asyncio.sleep(BUSY_SECONDS)
        for number in range(pairs):
            step(f"a busy mesh with and without a viewer, pair {number + 1} of {pairs}")
            costs = {}
            for viewers in (0, 1) if number % 2 == 0 else (1, 0):
                async with looking(viewers):
                    await asyncio.sleep(SETTLING_SECONDS)
                    costs[viewers] = await _cost(running)
            found.append(costs[1] / costs[0])
        feeding.cancel()
    await running.drained()
    return found


async def share_of_all_cores(running: Running, looking: Looking, seconds: float) -> float:
    """What a viewer takes of all cores in percent: services, broker and console, while nothing else happens."""
    used = []
    for viewers in (0, 1):
        async with looking(viewers):
            await asyncio.sleep(SETTLING_SECONDS)
            before = _used(running)
            await asyncio.sleep(seconds)
            used.append(_used(running) - before)
    return (used[1] - used[0]) / seconds / (os.cpu_count() or 1) * 100


async def _feed(running: Running) -> None:
    """Place orders as others are done, so that the mesh works as fast as it can and nothing piles up."""
    orders = workload.good_orders("busy", ORDERS_MAX, running.skus)
    while True:
        wanted = max(0, WAITING - await running.waiting()) // DELIVERIES
        await publish_all(running.client, islice(orders, wanted))
        await asyncio.sleep(FEED_SECONDS)


async def _cost(running: Running) -> float:
    """Seconds of the processor for an event, in a window."""
    events, used = await _recorded(running), _used(running)
    await asyncio.sleep(WINDOW_SECONDS)
    return (_used(running) - used) / (await _recorded(running) - events)


async def _recorded(running: Running) -> int:
    streams = sorted({consumer.stream for consumer in running.consumers})
    infos = [await request(running.client.connection, f"STREAM.INFO.{name}", strict=True) for name in streams]
    return sum(int(info["state"]["last_seq"]) for info in infos)


def _used(running: Running) -> float:
    used = running.processes.cpu_seconds()
    return sum(used[name] for name in (*meshes.NAMES, "console")) + cpu_seconds(running.broker.pid)
