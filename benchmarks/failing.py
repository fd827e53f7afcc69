"""A thousand deliveries that fail, again and again: what they do to the latency of the healthy ones beside them."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import hop, servers
from benchmarks.contenders.jetmesh_hop import orders
from benchmarks.figures import Row, quantile, spread
from benchmarks.processes import Processes
from benchmarks.progress import Step
from jetmesh import Service
from jetmesh.jetstream import api, stream_reader
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import subject_of
from jetmesh.runtime.context import Context, connect
from jetmesh.settings import Settings, read
from jetmesh.telemetry import providers
from jetmesh.testing import until
from jetmesh.topology import provision
from jetmesh.topology.streams import topology
from jetmesh_contracts import OrderPlaced, PaymentAuthorized

PART = "failing"
FAILING = 1_000
RATE = 100.0
BROKEN = "pm_broken"
WARM_UP_ORDERS = 100

payments = Service("payments")
SERVICES = (orders, payments)


@payments.begins
async def authorize(order: OrderPlaced) -> PaymentAuthorized:
    """An order was placed: hold its total, unless that fails; each failure is tried again by the default policy."""
    if order.payment_method == BROKEN:
        raise RuntimeError(f"{order.order_id}: an error that nobody foresaw")
    return PaymentAuthorized(
        order_id=order.order_id,
        authorization_id=f"pi_{order.order_id}",
        amount_minor=order.total_minor,
        currency=order.currency,
    )


async def run(seconds: float, rounds: int, step: Step) -> list[Row]:
    """Without the failing ones for a third of the time, and then with them, each round on a broker and a process of its
    own. The ratio is the median of the rounds'."""
    alone: list[float] = []
    beside: list[float] = []
    for number in range(rounds):
        async with _at_work() as mesh:
            for name, failing, lasts, found in (("alone", 0, seconds / 3, alone), ("beside", FAILING, seconds, beside)):
                step(f"{RATE:g} orders a second beside {failing:,} that fail, round {number + 1} of {rounds}")
                found.append(quantile(await _millis(mesh, name, lasts, failing), 0.95))
    ratio = statistics.median(late / calm for calm, late in zip(alone, beside, strict=True))
    what, who = f"one hop at {RATE:g} orders/s, p95", f"beside {FAILING:,} that fail"
    return [
        Row(PART, what, "alone", statistics.median(alone), "ms", spread=spread(alone)),
        Row(PART, what, who, statistics.median(beside), "ms", ratio, spread(beside)),
    ]


async def _millis(mesh: Context, name: str, seconds: float, failing: int) -> list[float]:
    """From when each healthy order was due until its outcome was stored. The failing ones come first, all at once."""
    done = await _outcomes(mesh)
    await asyncio.gather(*(_publish(mesh, _order("broken", n, BROKEN)) for n in range(failing)))
    due = await _place(mesh, name, round(RATE * seconds), RATE)
    await until(lambda: _is_done(mesh, done + len(due)), 60.0)
    stored = await stream_reader.read(mesh.connection, payments.stream, first=done + 1)
    at = {message.key: unix_nano(message.time) / 1e6 for message in stored}
    return [at[key] - moment * 1e3 for key, moment in due.items()]


@asynccontextmanager
async def _at_work() -> AsyncIterator[Context]:
    """A broker, the service's process on it, and a client."""
    with tempfile.TemporaryDirectory(prefix="benchmark-failing-") as folder, servers.broker(servers.ALWAYS) as broker:
        environment = {"NATS_URL": broker.url, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
        client = connect(read(Settings, environment), providers.start("benchmark", {}), "benchmark")
        with Processes(Path(folder), environment) as processes:
            async with client as mesh:
                await provision.apply(mesh.connection, await provision.plan(mesh.connection, topology(SERVICES)))
                processes.start(payments.name, "jetmesh", "run", "--app", f"{__name__}:SERVICES", payments.name)
                await _place(mesh, "warm", WARM_UP_ORDERS, RATE)
                await until(lambda: _is_done(mesh, WARM_UP_ORDERS), 60.0)
                yield mesh


async def _place(context: Context, prefix: str, count: int, rate: float) -> dict[str, float]:
    """Publish each order at its instant; when each was due, Unix time in seconds."""
    began, due = time.time(), dict[str, float]()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            order = _order(prefix, number)
            due[order.key] = began + number / rate
            await asyncio.sleep(max(0.0, due[order.key] - time.time()))
            group.create_task(_publish(context, order))
    return due


def _order(prefix: str, number: int, method: str = "pm_card_visa") -> OrderPlaced:
    return hop.placed(number).model_copy(update={"order_id": f"{prefix}-{number}", "payment_method": method})


async def _publish(context: Context, order: OrderPlaced) -> None:
    headers = hop.mesh_headers(0, order.key)
    headers["ce-id"] = order.key
    await context.publisher.record(
        Message(subject_of(OrderPlaced, order.key), order.model_dump_json().encode(), headers)
    )


async def _is_done(context: Context, outcomes: int) -> bool:
    return await _outcomes(context) >= outcomes


async def _outcomes(context: Context) -> int:
    info = await api.request(context.connection, f"STREAM.INFO.{payments.stream}", strict=True)
    return int(info["state"]["messages"])
