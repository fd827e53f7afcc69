"""Deliveries that fail, again and again, do not hold up those beside them: they begin later, and leave no garbage."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from jetmesh import Retry
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.worker import Worker
from jetmesh.runtime.workers import worker_of
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, Work, finishing, work

COUNT = 200


@pytest.fixture
def collected() -> Iterator[None]:
    """The garbage collector rests, so that what it would find is still there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collected")
async def test_a_failure_leaves_nothing_for_the_garbage_collector(mesh_of: MeshOf) -> None:
    """A traceback that keeps its own frames costs a busy process a tenth of a second each time they are found."""
    service, attempts = work(), list[str]()

    @service.on(retry=Retry(attempts=3, first_seconds=0.01))
    async def fail(asked: Asked, story: Work) -> Finished | None:
        """Fails each time."""
        attempts.append(asked.job_id)
        raise RuntimeError("an error that nobody foresaw")

    mesh = await mesh_of(service)
    gc.collect()
    for number in range(COUNT):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.dead_letters(COUNT)
    await mesh.settled()
    assert len(attempts) == 3 * COUNT
    assert gc.collect() < COUNT


async def test_what_comes_for_the_first_time_need_not_wait_behind_what_comes_again(mesh_of: MeshOf) -> None:
    begun: list[str] = []
    mesh, single = await with_many_again(mesh_of, begun)
    single.accept(delivery("first", delivered=1))
    await mesh.until(lambda: len(begun) == COUNT + 1)
    await single.drained()
    assert begun.index("first") < 3
    assert begun[-1] == f"again-{COUNT - 1}"


async def test_what_has_not_begun_again_is_given_back(mesh_of: MeshOf) -> None:
    mesh, single = await with_many_again(mesh_of, [])
    single.give_back()
    await asyncio.wait_for(single.drained(), 10)
    assert await mesh.count("WORK") == 0


async def with_many_again(mesh_of: MeshOf, begun: list[str]) -> tuple[LocalMesh, Worker]:
    """A reaction that was just handed many deliveries that come again."""
    service = finishing(begun)
    mesh = await mesh_of(service, start=False)
    single = worker_of(Binding(mesh.context, service, service.reactions[0]))
    for number in range(COUNT):
        single.accept(delivery(f"again-{number}", delivered=2))
    return mesh, single


def delivery(key: str, delivered: int) -> RawDelivery:
    """One of a job that is wanted."""
    body = Asked(job_id=key).model_dump_json().encode()
    return RawDelivery(f"jobs.asked.{key}", {}, body, f"reply-{key}", "JOBS", 1, delivered, 0.0)
