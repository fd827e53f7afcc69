"""One replica of a bottleneck service, and two: how much faster a backlog drains, and what an order costs."""

from benchmarks import meshes, servers, workload
from benchmarks.figures import Row
from benchmarks.progress import Step
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.operate.load import publish_all
from jetmesh.testing.jaeger import Jaeger

PART = "replicas"
BOTTLENECK, STREAM = "payments", "PAYMENTS"
PAUSE = "CONSUMER.PAUSE.ORDERS.payments-authorize"
FAR_AWAY = "2100-01-01T00:00:00Z"
"""The durable is paused until all replicas pull it, so that they begin in the same instant."""


async def run(count: int, step: Step) -> list[Row]:
    """The same backlog twice."""
    step("one replica")
    alone, alone_cpu = await _drain(count, 1)
    step("two replicas")
    together, together_cpu = await _drain(count, 2)
    what = f"a backlog of {count:,} orders through {BOTTLENECK}"
    return [
        Row(PART, what, "one replica", alone, "/s", cpu_micros=alone_cpu),
        Row(PART, what, "two replicas", together, "/s", together / alone, cpu_micros=together_cpu),
    ]


async def _drain(count: int, replicas: int) -> tuple[float, float]:
    """Orders a second and CPU microseconds an order. The broker syncs as by its default: the services are measured."""
    skus = workload.articles()
    names = ("orders", BOTTLENECK)
    with Jaeger() as jaeger:
        async with meshes.jetmesh(jaeger.otlp_http, skus=skus, names=names, sync=servers.DEFAULT_SYNC) as running:
            await publish_all(running.client, workload.good_orders("replica", count, skus))
            meshes.start(running, "orders")
            await running.drained("orders")
            running.processes.stop("orders")
            await request(running.client.connection, PAUSE, {"pause_until": FAR_AWAY}, strict=True)
            for number in range(replicas):
                running.processes.start(f"{BOTTLENECK}-{number}", "jetmesh", "run", BOTTLENECK)
            await running.pulled(BOTTLENECK, times=replicas)
            before = sum(running.processes.cpu_seconds().values())
            await request(running.client.connection, PAUSE, {}, strict=True)
            await running.drained(BOTTLENECK)
            used = sum(running.processes.cpu_seconds().values()) - before
            stored = await stream_reader.read(running.client.connection, STREAM)
    times = [unix_nano(message.time) for message in stored]
    return (count - 1) / (times[-1] - times[0]) * 1e9, used / count * 1e6
