"""The whole mesh under a burst: from the first publish to the last ending, beside the same flow on FastStream."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from benchmarks import latency, meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Drained, Running
from benchmarks.progress import Step
from benchmarks.scene import Shared
from jetmesh.telemetry.otlp import parse_traceparent
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES

PART = "mesh"
TRACES_LOOKED_AT = 300
EXPORT_SECONDS_MAX = 15.0
POLL_SECONDS = 0.5
PEER_SHARE = 5
"""The burst that FastStream gets too has so many times fewer orders: it is slow, and its rate steady by then."""


@dataclass(frozen=True, slots=True)
class Bursts:
    """What our mesh did with a burst, and how many of the orders looked at have a complete trace; and what it did with
    a smaller one without mail, which FastStream gets as well."""

    whole: Drained
    complete: int
    looked_at: int
    without_mail: Drained


def part(count: int) -> Shared:
    """A burst, and one of a fifth as many orders without mail, on our mesh and on FastStream's."""

    async def ours(running: Running, step: Step) -> Bursts:
        step(f"{count:,} orders, five services")
        orders = list(workload.orders("burst", count, running.skus))
        whole = await running.take(orders)
        complete, looked_at = await traces(running, orders)
        step("without mail")
        running.processes.stop("notifications", "mail")
        return Bursts(whole, complete, looked_at, await without_mail(running.only(*meshes.WITHOUT_MAIL)))

    async def theirs(running: Running, step: Step) -> Drained:
        await latency.warm_up(running, step, PART)
        step("the same on FastStream")
        return await without_mail(running)

    async def without_mail(running: Running) -> Drained:
        return await running.take(list(workload.orders("no-mail", max(1, count // PEER_SHARE), running.skus)))

    return Shared(ours, theirs, _rows)


def _rows(ours: Bursts, theirs: Drained) -> list[Row]:
    return [*_whole(ours), *_beside(ours.without_mail, theirs)]


def _whole(found: Bursts) -> list[Row]:
    drained, looked_at = found.whole, found.looked_at
    what = f"{drained.orders:,} orders, five services"
    per_order, memory = drained.cpu_micros_per_order, max(drained.memory_bytes.values())
    share = 100 * found.complete / looked_at
    return [
        Row(PART, f"{what}: to the last ending", "jetmesh", drained.ended_seconds, "s",
            cpu_micros=per_order, memory_bytes=memory),
        Row(PART, f"{what}: to everything drained", "jetmesh", drained.drained_seconds, "s"),
        Row(PART, f"{what}: traces complete ({looked_at} looked at)", "jetmesh", share, "%"),
        Row(PART, f"{what}: CPU per order, services", "jetmesh", per_order, "µs"),
        Row(PART, f"{what}: CPU per order, broker", "jetmesh", drained.broker_cpu_micros_per_order, "µs"),
        *(Row(PART, f"{what}: CPU of {name} per order", "jetmesh", seconds / drained.orders * 1e6, "µs")
          for name, seconds in drained.cpu_seconds.items()),
    ]  # fmt: skip


def _beside(ours: Drained, theirs: Drained) -> list[Row]:
    what = f"{ours.orders:,} orders, no mail: to the last ending"
    cpu = f"{ours.orders:,} orders, no mail: CPU per order"
    wall_ratio = theirs.ended_seconds / ours.ended_seconds
    cpu_ratio = theirs.cpu_micros_per_order / ours.cpu_micros_per_order
    return [
        Row(PART, what, "jetmesh", ours.ended_seconds, "s"),
        Row(PART, what, "FastStream", theirs.ended_seconds, "s", wall_ratio),
        Row(PART, cpu, "jetmesh", ours.cpu_micros_per_order, "µs", memory_bytes=max(ours.memory_bytes.values())),
        Row(PART, cpu, "FastStream", theirs.cpu_micros_per_order, "µs", cpu_ratio,
            memory_bytes=max(theirs.memory_bytes.values())),
    ]  # fmt: skip


async def traces(running: Running, orders: Sequence[OrderPlaced]) -> tuple[int, int]:
    """How many orders, of how many looked at, have every event of theirs in one trace in Jaeger; the last spans are
    exported a moment after the last event."""
    chosen = random.Random(0).sample(orders, min(TRACES_LOOKED_AT, len(orders)))
    incomplete, deadline = chosen, time.monotonic() + EXPORT_SECONDS_MAX
    async with httpx.AsyncClient(base_url=running.jaeger_url, trust_env=False, timeout=30) as client:
        while True:
            incomplete = [order for order in incomplete if not await _is_complete(running, client, order)]
            if not incomplete or time.monotonic() > deadline:
                return len(chosen) - len(incomplete), len(chosen)
            await asyncio.sleep(POLL_SECONDS)


async def _is_complete(running: Running, client: httpx.AsyncClient, order: OrderPlaced) -> bool:
    contexts = [parse_traceparent(header) for header in await traceparents(running, order.key)]
    if not contexts or not all(contexts) or len({context.trace_id for context in contexts if context}) > 1:
        return False
    first = contexts[0]
    assert first
    recorded = {f"{context.span_id:016x}" for context in contexts if context}
    answer = await client.get(f"/api/traces/{first.trace_id:032x}")
    spans = answer.json()["data"][0]["spans"] if answer.is_success else []
    known = {span["spanID"] for span in spans}
    parents = {reference["spanID"] for span in spans for reference in span["references"]}
    return recorded <= known and parents <= known


async def traceparents(running: Running, key: str) -> list[str]:
    """Of every event that was recorded about the key."""
    streams = [service.stream for service in SERVICES if service.records]
    stories = [await running.client.direct_get.last(stream, [f"*.*.{key}"]) for stream in streams]
    return [message.headers.get("traceparent", "") for story in stories for message in story]
