"""Sinks: everything that happens is kept, together where much happens, and at once where little does."""

import asyncio
from collections.abc import Sequence

from jetmesh import Recorded, Service
from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Finished, work

Batches = list[Sequence[Recorded]]


def keeping(failures: int = 0) -> tuple[Service, Batches]:
    """A service that finishes jobs and keeps all that happens; so many batches can't be kept at first."""
    service, batches = work(), Batches()

    @service.on
    async def finish(job: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=job.job_id)

    @service.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError("the store is away")
        batches.append(events)

    return service, batches


async def test_a_burst_is_kept_in_few_batches_and_each_event_once(mesh_of: MeshOf) -> None:
    service, batches = keeping()
    mesh = await mesh_of(service, start=False)
    await asyncio.gather(*(mesh.record(Asked(job_id=f"j-{number}")) for number in range(300)))
    await mesh.start(service)
    await mesh.settled()
    kept = [event.key for batch in batches for event in batch]
    assert sorted(kept) == sorted(f"j-{number}" for number in range(300))
    assert len(batches) < 60


async def test_what_could_not_be_kept_comes_again_as_it_stands_in_the_stream(mesh_of: MeshOf) -> None:
    service, batches = keeping(failures=1)
    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    [[finished]] = batches
    stored = await mesh.recorded(Finished, "j-1")
    assert (finished.stream, finished.type, finished.key) == ("WORK", "work.finished", "j-1")
    assert Finished.read(finished.data) == stored
    assert finished.id
    assert finished.causation_id


async def test_what_the_store_cannot_take_does_not_hold_up_what_it_can(mesh_of: MeshOf) -> None:
    service, kept = work(), set[str]()

    @service.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it, all or nothing."""
        if any(event.key == "j-poison" for event in events):
            raise ValueError("no store takes this")
        kept.update(event.key for event in events)

    @service.begins
    async def finish(job: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=job.job_id)

    mesh = await mesh_of(service, start=False)
    for key in ("j-poison", *(f"j-{number}" for number in range(50))):
        await mesh.record(Finished(job_id=key))
    await mesh.start(service)
    await mesh.until(lambda: len(kept) == 50, within_seconds=30)
    await mesh.record(Finished(job_id="j-next"))
    await mesh.until(lambda: "j-next" in kept)
