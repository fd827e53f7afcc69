"""All five services in one process, as `jetmesh run` does without names, beside a process for each."""

from benchmarks import latency, meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Drained, Running
from benchmarks.progress import Step
from benchmarks.scene import Shared

PART = "one-process"


def part(count: int) -> Shared:
    """The same burst on both, in processes that are new; the memory is that of all together."""

    async def ours(running: Running, step: Step) -> list[Row]:
        step("a process for each service")
        running.processes.stop(*running.processes)
        await meshes.whole(running)
        apart = await _take(running, "apart", count, step)
        step("one process for all services")
        running.processes.stop(*running.processes)
        meshes.start_together(running)
        await running.pulled()
        together = await _take(running, "together", count, step)
        running.processes.stop(*running.processes)
        return _rows(apart, together)

    return Shared(ours)


async def _take(running: Running, name: str, count: int, step: Step) -> Drained:
    await latency.warm_up(running, step, name)
    step(f"{count:,} orders, {name}")
    return await running.take(list(workload.orders(name, count, running.skus)))


def _rows(apart: Drained, together: Drained) -> list[Row]:
    what = f"{apart.orders:,} orders, five services: to the last ending"
    return [
        _row(what, "five processes", apart),
        _row(what, "one process", together, apart.ended_seconds / together.ended_seconds),
    ]


def _row(what: str, who: str, drained: Drained, ratio: float | None = None) -> Row:
    memory = sum(drained.memory_bytes.values())
    per_order = drained.cpu_micros_per_order
    return Row(PART, what, who, drained.ended_seconds, "s", ratio, cpu_micros=per_order, memory_bytes=memory)
