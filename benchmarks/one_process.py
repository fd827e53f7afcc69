"""All five services in one process, as `jetmesh run` does without names, beside a process for each."""

from benchmarks import meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Drained
from benchmarks.progress import Step
from jetmesh.testing.jaeger import Jaeger

PART = "one-process"


async def run(count: int, step: Step) -> list[Row]:
    """The same burst on both; the memory is that of all processes together."""
    step("a process for each service")
    apart = await _take(count, is_together=False)
    step("one process for all services")
    together = await _take(count, is_together=True)
    what = f"{count:,} orders, five services: to the last ending"
    return [
        _row(what, "five processes", apart),
        _row(what, "one process", together, apart.ended_seconds / together.ended_seconds),
    ]


def _row(what: str, who: str, drained: Drained, ratio: float | None = None) -> Row:
    memory = sum(drained.memory_bytes.values())
    per_order = drained.cpu_micros_per_order
    return Row(PART, what, who, drained.ended_seconds, "s", ratio, cpu_micros=per_order, memory_bytes=memory)


async def _take(count: int, *, is_together: bool) -> Drained:
    skus = workload.articles()
    orders = list(workload.orders("burst", count, skus))
    with Jaeger() as jaeger:
        async with meshes.jetmesh(jaeger.otlp_http, skus=skus) as running:
            if is_together:
                meshes.start_together(running)
            else:
                meshes.start(running, *meshes.NAMES)
            await running.pulled()
            await meshes.fill_shelves(running, workload.restocks(skus))
            return await running.take(orders)
