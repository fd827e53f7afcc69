"""From click to confirmation while a process that is no part of the mesh takes all that it gets of one core."""

import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks import latency
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.progress import Step

PART = "shared-core"
RATE = 100.0
GOALS = {"p50": "60 ms"}
BUSY_SECONDS_MAX = 600


async def run(seconds: float, step: Step) -> list[Row]:
    """On the mesh, and on the same flow on FastStream."""
    ours, theirs = await latency.both(partial(_beside, seconds=seconds, step=step), step)
    what = f"click to confirmation at {RATE:g} orders/s, one core taken"
    return latency.rows(PART, what, ours, theirs, GOALS)


async def _beside(running: Running, skus: Sequence[str], seconds: float, step: Step) -> list[float]:
    step(f"{RATE:g} orders a second for {seconds:g} s beside a busy process")
    running.processes.start("busy", __name__, str(BUSY_SECONDS_MAX))
    try:
        return await latency.at_rate(running, skus, RATE, seconds)
    finally:
        running.processes.stop("busy")


def stay_busy(seconds: float) -> None:
    """Use a core without a pause, until stopped and for so long at most."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


if __name__ == "__main__":
    stay_busy(float(sys.argv[1]))
