"""More orders than the mesh can take, offered at a steady rate: nothing is lost, and what comes after is soon as fast
as before."""

import math
from collections.abc import Mapping
from pathlib import Path

from benchmarks import latency, meshes, workload
from benchmarks.figures import Row, quantile
from benchmarks.meshes import Running
from benchmarks.progress import Step
from jetmesh.local.state import StateFolder
from jetmesh.operate.load import Clicks, drive
from jetmesh_shop.reference.audit import AUDIT, collect

PART = "overload"
RATE, CALM_RATE = 500.0, 20.0
"""Orders a second: offered during the overload, and before and after it."""
SHARE_LATE = 2.0
"""Normal is at most so many times the 95th percentile before the overload."""
LASTS = {"before": 1 / 6, "overload": 1.0, "after": 1 / 2}
"""How long each phase is, beside the overload."""

Latencies = Mapping[str, float]
"""Of each order, in milliseconds, from when it was due until its confirmation was stored."""


async def run(seconds: float, step: Step) -> list[Row]:
    """A calm rate, the overload for so many seconds, the calm rate again until it is over for sure."""
    async with meshes.ours() as running:
        await latency.warm_up(running, step, PART)
        clicks: dict[str, Clicks] = {}
        for phase, rate in (("before", CALM_RATE), ("overload", RATE), ("after", CALM_RATE)):
            step(f"{phase}: {rate:g} orders a second")
            orders = list(workload.good_orders(phase, round(rate * seconds * LASTS[phase]), running.skus))
            clicks[phase] = await drive(running.client, orders, rate)
        step("draining")
        await running.drained()
        found = {phase: await latency.by_order(running, clicks[phase]) for phase in clicks}
        memory = running.processes.memory_bytes()
        step("the audit")
        wrong = await offences(running)
    return _rows(seconds, clicks["after"], found, sum(map(len, clicks.values())), wrong, memory)


def _rows(
    seconds: float, after: Clicks, found: Mapping[str, Latencies], orders: int, wrong: int, memory: Mapping[str, int]
) -> list[Row]:
    what = f"{RATE:g} orders/s offered for {seconds:g} s"
    lost = orders - sum(map(len, found.values()))
    normal = quantile(list(found["before"].values()), 0.95)
    back = seconds_until_normal(after, found["after"], SHARE_LATE * normal)
    return [
        Row(PART, f"{what}: orders lost, and offences of the audit", "jetmesh", lost + wrong, ""),
        Row(PART, f"{what}: click to confirmation, p95 before", "jetmesh", normal, "ms"),
        *(Row(PART, f"{what}: click to confirmation, p{share * 100:g} meanwhile", "jetmesh",
              quantile(list(found["overload"].values()), share), "ms") for share in (0.5, 0.99)),
        Row(PART, f"{what}: until it is back to normal", "jetmesh", back, "s"),
        *(Row(PART, f"{what}: memory", name, memory[name] / 1e6, "MB") for name in meshes.NAMES),
    ]  # fmt: skip


def seconds_until_normal(clicks: Clicks, found: Latencies, normal: float) -> float:
    """From the first click until that of the first order after which all are confirmed in a normal time; infinite if
    the last one still is not."""
    began = min(clicks.values())
    late = [clicked for key, clicked in clicks.items() if found.get(key, math.inf) > normal]
    calm = [clicked for clicked in clicks.values() if clicked > max(late, default=-math.inf)]
    return min(calm) - began if calm else math.inf


async def offences(running: Running) -> int:
    """What the audit of the whole mesh finds wrong."""
    state = StateFolder(Path(running.processes.environment["JETMESH_STATE"]))
    findings = AUDIT.of(await collect(running.client, state)).findings
    return sum(len(finding.offences) for finding in findings)
