"""A backlog of one reaction does not delay another one: each has a durable and slots of its own."""

import asyncio

from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Dropped, Finished, Noted, work

BACKLOG = 300


async def test_what_is_urgent_is_handled_beside_a_backlog_that_does_not_move(mesh_of: MeshOf) -> None:
    service, go_on, begun = work(), asyncio.Event(), 0

    @service.on
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it when the others let it."""
        nonlocal begun
        begun += 1
        await go_on.wait()
        return Finished(job_id=asked.job_id)

    @service.on
    async def note(dropped: Dropped) -> Noted:
        """Nobody wants a job any more: note that at once."""
        return Noted(job_id=dropped.job_id)

    mesh = await mesh_of(service, JETMESH_SLOTS="16")
    await asyncio.gather(*(mesh.record(Asked(job_id=f"j-{number}")) for number in range(BACKLOG)))
    await mesh.until(lambda: begun == 16)
    await mesh.record(Dropped(job_id="urgent"))
    await mesh.recorded(Noted, "urgent")
    assert begun == 16
    go_on.set()
    await mesh.recorded(Finished, f"j-{BACKLOG - 1}", 60)
    await mesh.settled(60)
