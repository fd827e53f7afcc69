"""A reaction that declares a concurrency has no more deliveries in flight, however many processes there are."""

import asyncio

from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Finished, work
from tests.support.operators import config_of


async def test_no_more_run_at_a_time_than_declared_in_two_replicas(mesh_of: MeshOf) -> None:
    service, running, most = work(), 0, 0
    go_on = asyncio.Event()

    @service.on(concurrency=3)
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, with two others."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await mesh.start(service)
    for number in range(30):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.until(lambda: running == 3)
    assert (await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish"))["max_ack_pending"] == 3
    go_on.set()
    for number in range(30):
        await mesh.recorded(Finished, f"j-{number}")
    assert most == 3
