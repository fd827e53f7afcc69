"""From click to confirmation at a steady rate, open loop: each order has its time, whether the mesh keeps up or not."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from benchmarks import meshes, workload
from benchmarks.figures import Row, quantile
from benchmarks.meshes import Running
from benchmarks.progress import Step
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.clock import unix_nano
from jetmesh.operate.load import Clicks, drive
from jetmesh.testing.jaeger import Jaeger

PART = "latency"
WARM_UP_ORDERS = 300
Found = TypeVar("Found")
Measure: TypeAlias = Callable[[Running, Sequence[str]], Awaitable[Found]]
GOALS: Mapping[float, Mapping[str, str]] = {100: {"p50": "15 ms", "p99": "60 ms"}, 1: {"p50": "8 ms"}}


async def run(seconds: float, step: Step) -> list[Row]:
    """At 100 orders a second and at one, on the mesh, and on the same flow on FastStream, which sends no mail."""
    ours, theirs = await both(partial(_at_each_rate, seconds=seconds, step=step), step)
    return [
        row
        for rate, goals in GOALS.items()
        for row in rows(PART, f"click to confirmation at {rate:g} orders/s", ours[rate], theirs[rate], goals)
    ]


async def both(measure: Measure[Found], step: Step) -> tuple[Found, Found]:
    """The same on two meshes, one after the other, each of which has had some orders before: ours, and FastStream's."""
    skus = workload.articles()
    with Jaeger() as jaeger:
        async with meshes.started(jaeger.otlp_http, skus=skus) as running:
            await warm_up(running, skus, step)
            ours = await measure(running, skus)
    with Jaeger() as jaeger:
        async with meshes.faststream(jaeger.otlp_http, skus) as running:
            await warm_up(running, skus, step)
            return ours, await measure(running, skus)


async def warm_up(running: Running, skus: Sequence[str], step: Step) -> None:
    """Some orders that are not measured."""
    step("warming up")
    await running.take(list(workload.good_orders("warm", WARM_UP_ORDERS, skus)))


async def _at_each_rate(running: Running, skus: Sequence[str], seconds: float, step: Step) -> dict[float, list[float]]:
    found = {}
    for rate in GOALS:
        step(f"{rate:g} orders a second for {seconds:g} s")
        found[rate] = await at_rate(running, skus, rate, seconds)
    return found


async def at_rate(running: Running, skus: Sequence[str], rate: float, seconds: float) -> list[float]:
    """The milliseconds from click to confirmation of each order."""
    orders = list(workload.good_orders(f"at-{rate:g}", round(rate * seconds), skus))
    clicks = await drive(running.client, orders, rate)
    await running.drained()
    found = await by_order(running, clicks)
    return [found[order_id] for order_id in clicks]


async def by_order(running: Running, clicks: Clicks) -> dict[str, float]:
    """Milliseconds from when each order was due until its confirmation was stored; none of an order that has none."""
    confirmed = next(subject for subject in running.endings if subject.startswith("orders.confirmed"))
    stored = await stream_reader.read(running.client.connection, "ORDERS", confirmed)
    at = {json.loads(message.data)["order_id"]: unix_nano(message.time) / 1e6 for message in stored}
    return {order_id: at[order_id] - clicked * 1e3 for order_id, clicked in clicks.items() if order_id in at}


def rows(part: str, what: str, ours: Sequence[float], theirs: Sequence[float], goals: Mapping[str, str]) -> list[Row]:
    """Median and 99th percentile, ours and theirs."""
    found = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        mine, peer = quantile(ours, share), quantile(theirs, share)
        found += [
            Row(part, f"{what}, {name}", "jetmesh", mine, "ms", goal=goals.get(name, "")),
            Row(part, f"{what}, {name}", "FastStream, no mail", peer, "ms", peer / mine),
        ]
    return found
