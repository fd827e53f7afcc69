"""From click to confirmation at a steady rate, open loop: each order has its time, whether the mesh keeps up or not."""

import json
from collections.abc import Mapping, Sequence

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
GOALS: Mapping[float, Mapping[str, str]] = {100: {"p50": "15 ms", "p99": "60 ms"}, 1: {"p50": "8 ms"}}


async def run(seconds: float, step: Step) -> list[Row]:
    """At 100 orders a second and at one, on the mesh, and on the same flow on FastStream, which sends no mail."""
    skus = workload.articles()
    with Jaeger() as jaeger:
        async with meshes.started(jaeger.otlp_http, skus=skus) as running:
            ours = await _at_each_rate(running, skus, seconds, step)
    with Jaeger() as jaeger:
        async with meshes.faststream(jaeger.otlp_http, skus) as running:
            theirs = await _at_each_rate(running, skus, seconds, step)
    return [row for rate in GOALS for row in _rows(rate, ours[rate], theirs[rate])]


async def _at_each_rate(running: Running, skus: Sequence[str], seconds: float, step: Step) -> dict[float, list[float]]:
    step("warming up")
    await running.take(list(workload.good_orders("warm", WARM_UP_ORDERS, skus)))
    found = {}
    for rate in GOALS:
        step(f"{rate:g} orders a second for {seconds:g} s")
        orders = list(workload.good_orders(f"at-{rate:g}", round(rate * seconds), skus))
        clicks = await drive(running.client, orders, rate)
        await running.drained()
        found[rate] = await confirmations(running, clicks)
    return found


async def confirmations(running: Running, clicks: Clicks) -> list[float]:
    """Milliseconds from when an order was due until its confirmation was stored."""
    confirmed = next(subject for subject in running.endings if subject.startswith("orders.confirmed"))
    stored = await stream_reader.read(running.client.connection, "ORDERS", confirmed)
    at = {json.loads(message.data)["order_id"]: unix_nano(message.time) / 1e6 for message in stored}
    return [at[order_id] - clicked * 1e3 for order_id, clicked in clicks.items()]


def _rows(rate: float, ours: Sequence[float], theirs: Sequence[float]) -> list[Row]:
    rows = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        what = f"click to confirmation at {rate:g} orders/s, {name}"
        mine, peer = quantile(ours, share), quantile(theirs, share)
        rows += [
            Row(PART, what, "jetmesh", mine, "ms", goal=GOALS[rate].get(name, "")),
            Row(PART, what, "FastStream, no mail", peer, "ms", peer / mine),
        ]
    return rows
