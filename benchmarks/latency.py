"""From click to confirmation at a steady rate, open loop: each order has its time, whether the mesh keeps up or not."""

from collections.abc import Mapping

from benchmarks import meshes, workload
from benchmarks.figures import Row, quantile
from benchmarks.meshes import Running
from benchmarks.progress import Step
from jetmesh.archive.row import unix_nano
from jetmesh.testing.jaeger import Jaeger
from services.reference.load import Clicks, drive
from services.reference.streams import raw_reader

PART = "latency"
WARM_UP_ORDERS = 300
GOALS: Mapping[float, Mapping[str, str]] = {100: {"p50": "15 ms", "p99": "60 ms"}, 1: {"p50": "8 ms"}}


async def run(seconds: float, step: Step) -> list[Row]:
    """At 100 orders a second and at one, on one mesh."""
    skus = workload.articles()
    rows = []
    with Jaeger() as jaeger:
        async with meshes.started(jaeger.otlp_http, skus=skus) as running:
            step("warming up")
            await running.take(list(workload.good_orders("warm", WARM_UP_ORDERS, skus)))
            for rate in GOALS:
                step(f"{rate:g} orders a second for {seconds:g} s")
                orders = list(workload.good_orders(f"at-{rate:g}", round(rate * seconds), skus))
                clicks = await drive(running.client, orders, rate)
                await running.drained()
                rows += _rows(rate, await confirmations(running, clicks))
    return rows


async def confirmations(running: Running, clicks: Clicks) -> list[float]:
    """Milliseconds from when an order was due until its confirmation was stored."""
    stored = await (await raw_reader(running.client.connection)).read("ORDERS", "orders.confirmed.*")
    at = {message.key: unix_nano(message.time) / 1e6 for message in stored}
    return [at[order_id] - clicked * 1e3 for order_id, clicked in clicks.items()]


def _rows(rate: float, millis: list[float]) -> list[Row]:
    what = f"click to confirmation at {rate:g} orders/s"
    return [
        Row(PART, f"{what}, {name}", "jetmesh", quantile(millis, share), "ms", goal=GOALS[rate].get(name, ""))
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
