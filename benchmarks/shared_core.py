"""From click to confirmation while a process that is no part of the mesh takes all that it gets of one core."""

import sys
import time

from benchmarks import latency
from benchmarks.figures import Row
from benchmarks.latency import Paced
from benchmarks.meshes import Running
from benchmarks.progress import Step
from benchmarks.scene import Shared

PART = "shared-core"
RATE = 100.0
BUSY_SECONDS_MAX = 600


def part(seconds: float) -> Shared:
    """On the mesh, and on the same flow on FastStream."""

    async def beside(running: Running, step: Step) -> Paced:
        await latency.warm_up(running, step, PART)
        step(f"{RATE:g} orders a second for {seconds:g} s beside a busy process")
        running.processes.start("busy", __name__, str(BUSY_SECONDS_MAX))
        try:
            return await latency.at_rate(running, PART, RATE, seconds)
        finally:
            running.processes.stop("busy")

    return Shared(beside, beside, _rows)


def _rows(ours: Paced, theirs: Paced) -> list[Row]:
    return latency.rows(PART, f"click to confirmation at {RATE:g} orders/s, one core taken", ours, theirs)


def stay_busy(seconds: float) -> None:
    """Use a core without a pause, until stopped and for so long at most."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


if __name__ == "__main__":
    stay_busy(float(sys.argv[1]))
