"""More orders than the mesh can take, offered at a steady rate: nothing is lost, what comes after is soon as fast as
before, and what an order takes of the machine says how many it can take."""

import asyncio
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from benchmarks import latency, meshes, workload
from benchmarks.figures import Row, quantile
from benchmarks.meshes import Running
from benchmarks.processes import cpu_seconds
from benchmarks.progress import Step
from jetmesh.local.state import StateFolder
from jetmesh.operate.load import Clicks, drive
from jetmesh_shop.reference.audit import AUDIT, collect
from jetmesh_shop.reference.backing import NOBODY_WAITS_FOR

PART = "overload"
RATE, CALM_RATE = 500.0, 20.0
"""Orders a second: offered during the overload, and before and after it."""
SHARE_LATE = 2.0
"""Normal is at most so many times the 95th percentile before the overload,"""
NEIGHBOURS = 100
"""as the 95th percentile of so many orders that follow one another."""
WAITED_FOR = tuple(name for name in meshes.NAMES if name not in NOBODY_WAITS_FOR)
AFTERWARDS = tuple(name for name in meshes.NAMES if name in NOBODY_WAITS_FOR)
MAIL = "mail"
LASTS = {"before": 1 / 6, "overload": 1.0, "after": 1 / 3}
"""How long each phase is, beside the overload."""

Latencies = Mapping[str, float]
"""Of each order, in milliseconds, from when it was due until its confirmation was stored."""


@dataclass(frozen=True, slots=True)
class Left:
    """What the overload left: deliveries that waited at its end, for a confirmation and for what follows it; and after
    how many seconds no more waited than come in one."""

    waited_for: int
    afterwards: int
    seconds: float


async def run(seconds: float, step: Step) -> list[Row]:
    """A calm rate, the overload for so many seconds, the calm rate again until it is over for sure."""
    async with meshes.ours() as running:
        await latency.warm_up(running, step, PART)
        offer = partial(_offer, running, step, seconds)
        clicks = {"before": await offer("before", CALM_RATE)}
        before = _used(running)
        clicks["overload"] = await offer("overload", RATE)
        left = asyncio.create_task(_left(running))
        clicks["after"] = await offer("after", CALM_RATE)
        step("draining")
        await running.drained()
        used = {name: each - before[name] for name, each in _used(running).items()}
        every = await latency.by_order(running, {key: at for phase in clicks.values() for key, at in phase.items()})
        found = {phase: {key: every[key] for key in clicks[phase] if key in every} for phase in clicks}
        memory = running.processes.memory_bytes()
        step("the audit")
        wrong = await offences(running)
    what = f"{RATE:g} orders/s offered for {seconds:g} s"
    return [
        *_latencies(what, clicks, found, wrong),
        *_machine(what, await left, used, len(clicks["overload"]) + len(clicks["after"])),
        *(Row(PART, f"{what}: memory", name, memory[name] / 1e6, "MB") for name in meshes.NAMES),
    ]


async def _offer(running: Running, step: Step, seconds: float, phase: str, rate: float) -> Clicks:
    step(f"{phase}: {rate:g} orders a second")
    count = round(rate * seconds * LASTS[phase])
    return await drive(running.client, list(workload.good_orders(phase, count, running.skus)), rate)


async def _left(running: Running) -> Left:
    began = time.monotonic()
    waited_for, afterwards = [await running.waiting(*names) for names in (WAITED_FOR, AFTERWARDS)]
    while True:
        if await running.waiting(*AFTERWARDS) <= CALM_RATE:
            return Left(waited_for, afterwards, time.monotonic() - began)
        await asyncio.sleep(1.0)


def _used(running: Running) -> dict[str, float]:
    """The CPU seconds of everything that the mesh needs, by name."""
    others = {"the broker": running.broker.pid, "Jaeger": running.jaeger_pid, "whoever places the orders": os.getpid()}
    return running.processes.cpu_seconds() | {name: cpu_seconds(pid) for name, pid in others.items()}


def _latencies(what: str, clicks: Mapping[str, Clicks], found: Mapping[str, Latencies], wrong: int) -> list[Row]:
    lost = sum(map(len, clicks.values())) - sum(map(len, found.values()))
    normal = quantile(list(found["before"].values()), 0.95)
    back = seconds_until_normal(clicks["after"], found["after"], SHARE_LATE * normal)
    return [
        Row(PART, f"{what}: orders lost, and offences of the audit", "jetmesh", lost + wrong, ""),
        *(Row(PART, f"{what}: click to confirmation, p{share * 100:g} {when}", "jetmesh",
              quantile(list(found[phase].values()), share), "ms")
          for phase, when, share in (("before", "before", 0.95), ("overload", "meanwhile", 0.5),
                                     ("overload", "meanwhile", 0.99), ("after", "afterwards", 0.95))),
        Row(PART, f"{what}: until it is back to normal", "jetmesh", back, "s"),
    ]  # fmt: skip


def _machine(what: str, left: Left, used: Mapping[str, float], orders: int) -> list[Row]:
    each = {
        "services that a confirmation needs": sum(used[name] for name in WAITED_FOR),
        "services that follow it": sum(used[name] for name in AFTERWARDS),
        "the mail server": used[MAIL],
        **{name: used[name] for name in used if name not in (*meshes.NAMES, MAIL)},
    }
    cores = os.cpu_count() or 1
    return [
        Row(PART, f"{what}: deliveries that wait at its end", "for a confirmation", left.waited_for, ""),
        Row(PART, f"{what}: deliveries that wait at its end", "for what follows it", left.afterwards, ""),
        Row(PART, f"{what}: until only new deliveries wait", "jetmesh", left.seconds, "s"),
        *(Row(PART, f"{what}: CPU of an order", name, cpu / orders * 1e6, "µs") for name, cpu in each.items()),
        Row(PART, f"{what}: what {cores} cores can take by this", "jetmesh", cores * orders / sum(each.values()), "/s"),
    ]


def seconds_until_normal(clicks: Clicks, found: Latencies, normal: float, neighbours: int = NEIGHBOURS) -> float:
    """From the first click until that of the first order from which on, of any neighbouring ones, 95 % are confirmed in
    a normal time; infinite if those at the end still are not. The clicks are in the order of their time."""
    late = [found.get(key, math.inf) > normal for key in clicks]
    before = [0, *accumulate(late)]
    first = math.inf
    for start in reversed(range(len(late) - neighbours + 1)):
        if before[start + neighbours] - before[start] > 0.05 * neighbours:
            break
        first = start
    moments = list(clicks.values())
    return moments[int(first)] - moments[0] if first < math.inf else math.inf


async def offences(running: Running) -> int:
    """What the audit of the whole mesh finds wrong."""
    state = StateFolder(Path(running.processes.environment["JETMESH_STATE"]))
    findings = AUDIT.of(await collect(running.client, state)).findings
    return sum(len(finding.offences) for finding in findings)
