"""From click to confirmation at a steady rate, open loop: each order has its time, whether the mesh keeps up or not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import workload
from benchmarks.figures import Row, quantile, spread
from benchmarks.meshes import MEASURED, Running
from benchmarks.processes import cpu_seconds
from benchmarks.progress import Step
from benchmarks.scene import Shared
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.operate.load import Clicks, drive

PART = "latency"
WARM_UP_ORDERS = 200
RATES = (100.0, 1.0)
WINDOWS, WINDOW_ORDERS_MIN = 5, 100
COSTS = {"services": "cpu_micros", "the broker": "broker_cpu_micros"}
FASTSTREAM = "FastStream, no mail"


@dataclass(frozen=True, slots=True)
class Paced:
    """Orders at a steady rate: the milliseconds of each from click to confirmation, and the CPU of one."""

    milliseconds: Sequence[float]
    cpu_micros: float
    broker_cpu_micros: float


def part(seconds: float) -> Shared:
    """At 100 orders a second and at one, on the mesh, and on the same flow on FastStream, which sends no mail."""

    async def measure(running: Running, step: Step) -> Mapping[float, Paced]:
        await warm_up(running, step, PART)
        found = {}
        for rate in RATES:
            step(f"{rate:g} orders a second for {seconds:g} s")
            found[rate] = await at_rate(running, f"at-{rate:g}", rate, seconds)
        return found

    return Shared(measure, measure, _rows)


def _rows(ours: Mapping[float, Paced], theirs: Mapping[float, Paced]) -> list[Row]:
    return [
        *(row for rate in RATES
          for row in rows(PART, f"click to confirmation at {rate:g} orders/s", ours[rate], theirs[rate])),
        *_costs(RATES[0], ours[RATES[0]], theirs[RATES[0]]),
    ]  # fmt: skip


def _costs(rate: float, ours: Paced, theirs: Paced) -> list[Row]:
    found = []
    for who, name in COSTS.items():
        what, mine, peer = f"CPU of an order at {rate:g} orders/s, {who}", getattr(ours, name), getattr(theirs, name)
        found += [Row(PART, what, "jetmesh", mine, "µs"), Row(PART, what, FASTSTREAM, peer, "µs", peer / mine)]
    return found


async def warm_up(running: Running, step: Step, part: str) -> None:
    """Some orders that are not measured."""
    step("warming up")
    await running.take(list(workload.good_orders(f"warm-{part}", WARM_UP_ORDERS, running.skus)))


async def at_rate(running: Running, name: str, rate: float, seconds: float) -> Paced:
    """Orders for so long, and what became of them."""
    orders = list(workload.good_orders(name, round(rate * seconds), running.skus))
    first = await next_of_orders(running)
    before, broker = running.processes.cpu_seconds(), cpu_seconds(running.broker.pid)
    clicks = await drive(running.client, orders, rate)
    await running.drained()
    after, broker = running.processes.cpu_seconds(), cpu_seconds(running.broker.pid) - broker
    used = sum(seconds - before[name] for name, seconds in after.items() if name in MEASURED)
    found = await by_order(running, clicks, first)
    return Paced([found[order_id] for order_id in clicks], used / len(orders) * 1e6, broker / len(orders) * 1e6)


async def next_of_orders(running: Running) -> int:
    """The sequence that the next message of `ORDERS` will have."""
    info = await request(running.client.connection, "STREAM.INFO.ORDERS", strict=True)
    return int(info["state"]["last_seq"]) + 1


async def by_order(running: Running, clicks: Clicks, first: int = 1) -> dict[str, float]:
    """Milliseconds from when each order was due until its confirmation was stored; none of an order that has none.
    Those stored before the sequence `first` are not looked at."""
    confirmed = next(subject for subject in running.endings if subject.startswith("orders.confirmed"))
    stored = await stream_reader.read(running.client.connection, "ORDERS", confirmed, first)
    at = {json.loads(message.data)["order_id"]: unix_nano(message.time) / 1e6 for message in stored}
    return {order_id: at[order_id] - clicked * 1e3 for order_id, clicked in clicks.items() if order_id in at}


def rows(part: str, what: str, ours: Paced, theirs: Paced) -> list[Row]:
    """Median and 99th percentile, ours and theirs."""
    found = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        mine, peer = windowed(ours.milliseconds, share), windowed(theirs.milliseconds, share)
        found += [
            Row(part, f"{what}, {name}", "jetmesh", median(mine), "ms", spread=_spread(mine)),
            Row(part, f"{what}, {name}", FASTSTREAM, median(peer), "ms", median(peer) / median(mine), _spread(peer)),
        ]
    return found


def windowed(milliseconds: Sequence[float], share: float) -> list[float]:
    """The quantile of each of five windows that follow one another: their median is not that of a single stall, which
    the spread shows. Of few orders, of all."""
    windows = WINDOWS if len(milliseconds) >= WINDOWS * WINDOW_ORDERS_MIN else 1
    size = len(milliseconds) // windows
    return [quantile(milliseconds[number * size : (number + 1) * size], share) for number in range(windows)]


def _spread(windows: Sequence[float]) -> float | None:
    return spread(windows) if len(windows) > 1 else None
