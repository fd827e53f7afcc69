"""One replica of a bottleneck service, and two: how much faster a backlog drains, and what it takes of the machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks import meshes, servers, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.processes import cpu_seconds
from benchmarks.progress import Step
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.operate.load import publish_all
from jetmesh.testing.jaeger import Jaeger

PART = "replicas"
BOTTLENECK, STREAM = "payments", "PAYMENTS"
REPLICAS = "the replicas"
PAUSE = "CONSUMER.PAUSE.ORDERS.payments-authorize"
FAR_AWAY = "2100-01-01T00:00:00Z"
"""The durable is paused until all replicas pull it, so that they begin in the same instant."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How many orders a second, and the CPU microseconds of one, by process, with what is done for it afterwards."""

    rate: float
    cpu_micros: Mapping[str, float]


async def run(count: int, step: Step) -> list[Row]:
    """The same backlog twice."""
    step("one replica")
    alone = await _drain(count, 1)
    step("two replicas")
    return _rows(f"a backlog of {count:,} orders through {BOTTLENECK}", alone, await _drain(count, 2))


def _rows(what: str, alone: Drained, together: Drained) -> list[Row]:
    one, two = "one replica", "two replicas"
    cpu = together.cpu_micros
    return [
        Row(PART, what, one, alone.rate, "/s", cpu_micros=alone.cpu_micros[REPLICAS]),
        Row(PART, what, two, together.rate, "/s", together.rate / alone.rate, cpu_micros=cpu[REPLICAS]),
        *(Row(PART, f"{what}: CPU of a message, {name}", who, micros, "µs", ratio)
          for name, before in alone.cpu_micros.items()
          for who, micros, ratio in ((one, before, None), (two, cpu[name], cpu[name] / before))),
    ]  # fmt: skip


async def _drain(count: int, replicas: int) -> Drained:
    """The broker syncs as by its default: the services are measured."""
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
            before = _used(running, jaeger.pid)
            await request(running.client.connection, PAUSE, {}, strict=True)
            await running.drained(BOTTLENECK)
            used = {name: (after - before[name]) / count * 1e6 for name, after in _used(running, jaeger.pid).items()}
            stored = await stream_reader.read(running.client.connection, STREAM)
    times = [unix_nano(message.time) for message in stored]
    return Drained((count - 1) / (times[-1] - times[0]) * 1e9, used)


def _used(running: Running, jaeger_pid: int) -> dict[str, float]:
    """Seconds of the processor, by who used them; the harness asks whether all is drained."""
    others = {"the broker": running.broker.pid, "Jaeger": jaeger_pid, "the harness": os.getpid()}
    replicas = sum(running.processes.cpu_seconds()[name] for name in running.processes if name.startswith(BOTTLENECK))
    return {REPLICAS: replicas, **{name: cpu_seconds(pid) for name, pid in others.items()}}
