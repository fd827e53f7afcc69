"""A reaction that declares `in_order` handles the deliveries of a stream in its order, however many processes run."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jetmesh import DeclarationError, Delivery, Permanent, Retry, Service, Tick
from jetmesh.jetstream import api
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.topology import provision
from jetmesh.topology.accounts import mappings
from jetmesh.topology.partitions import partition_of
from jetmesh.topology.provision import Change
from tests.support.jobs import Asked, Finished, Noted, desk, work
from tests.support.operators import config_of

NUMBER = 40
INFO = "CONSUMER.INFO.JOBS.work-finish"


def following(begun: list[int], fails: Callable[[str, int], bool] = lambda *_: False) -> Service:
    """A service that finishes jobs in their order; each attempt notes the position of its event."""
    service = work()

    @service.on(in_order=True, retry=Retry(attempts=3, first_seconds=0.01))
    async def finish(asked: Asked, delivery: Delivery) -> Finished:
        """Somebody wants a job done: do it after those before it."""
        begun.append(delivery.sequence)
        await asyncio.sleep(0)
        if fails(asked.job_id, delivery.delivered):
            raise ValueError("it fails")
        return Finished(job_id=asked.job_id)

    return service


async def ask(mesh: LocalMesh, number: int = NUMBER) -> None:
    for one in range(number):
        await mesh.record(Asked(job_id=f"j-{one}"))


async def finished(mesh: LocalMesh, number: int = NUMBER) -> list[str]:
    """The keys of the jobs that are finished, in the order of the stream, once there are so many."""
    await mesh.until(lambda: _there(mesh, number), 60)
    page = await mesh.context.direct_get.page("WORK", "work.finished.*", 1, 1_000)
    return [stored.key for stored in page.messages]


async def _there(mesh: LocalMesh, number: int) -> bool:
    return await mesh.count("WORK") >= number


async def test_three_replicas_together_handle_one_after_the_other(mesh_of: MeshOf) -> None:
    begun: list[int] = []
    service = following(begun)
    mesh = await mesh_of(service)
    await mesh.start(service)
    await mesh.start(service)
    await ask(mesh)
    assert await finished(mesh) == [f"j-{one}" for one in range(NUMBER)]
    assert begun == sorted(begun)
    assert (await config_of(mesh, INFO))["max_ack_pending"] == 1


async def test_those_behind_a_failing_one_wait_for_it_and_go_on_when_it_is_given_up(mesh_of: MeshOf) -> None:
    begun: list[int] = []
    service = following(begun, lambda key, delivered: key == "j-1" or (key == "j-3" and delivered == 1))
    mesh = await mesh_of(service)
    await mesh.start(service)
    await ask(mesh, 6)
    assert await finished(mesh, 5) == ["j-0", "j-2", "j-3", "j-4", "j-5"]
    assert begun == [1, 2, 2, 2, 3, 4, 4, 5, 6]
    assert len(await mesh.dead_letters(1)) == 1


async def test_a_replica_that_stops_leaves_its_place_to_the_next(mesh_of: MeshOf) -> None:
    begun: list[int] = []
    service = following(begun)
    mesh = await mesh_of(service)
    await mesh.start(service)
    asking = asyncio.create_task(ask(mesh))
    await mesh.until(lambda: len(begun) > 5)
    await mesh.replicas.pop(0).stop()
    await asking
    assert await finished(mesh) == [f"j-{one}" for one in range(NUMBER)]
    assert begun == sorted(begun)


async def test_a_service_waits_until_its_durable_keeps_the_order(mesh_of: MeshOf) -> None:
    """Whoever set another value, an older version or an operator: `topology apply` sets it back."""
    begun: list[int] = []
    mesh = await mesh_of(following(begun), start=False)
    config = await config_of(mesh, INFO)
    body = {"stream_name": "JOBS", "config": {**config, "max_ack_pending": 100}}
    await api.request(mesh.context.connection, "CONSUMER.CREATE.JOBS.work-finish", body, strict=True)
    steps = await provision.plan(mesh.context.connection, mesh.topology)
    (step,) = [each for each in steps if each.name == "JOBS/work-finish"]
    assert (step.change, step.lacks) == (Change.UPDATE, True)
    with pytest.raises(provision.Drift, match="max_ack_pending: 100 -> 1"):
        await provision.check(mesh.context.connection, mesh.topology.consumers)
    await mesh.apply()
    assert (await config_of(mesh, INFO))["max_ack_pending"] == 1


async def many(asked: list[Asked]) -> list[Finished]: ...  # type: ignore[empty-body]
async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]
async def tick(tick: Tick) -> Noted: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: work().on(in_order="yes")(finish), "work.finish declares in_order='yes'; write True, or leave"),  # type: ignore[call-overload]
        (lambda: work().on_many(in_order=True)(many), "work.many declares in_order=True, and decides many deliveries"),
        (lambda: work().every("0 9 * * *", in_order=True)(tick), "work.tick declares in_order=True, and is handed out"),
        (lambda: work().at("due", in_order=True)(finish), "work.finish declares in_order=True, and is due when its"),
        (lambda: work().intake(in_order=True)(finish), "work.finish declares in_order=True, and shares its durable"),
        (lambda: work().on(in_order=True, concurrency=4)(finish), "work.finish declares in_order=True and a concurr"),
    ],
    ids=["text", "many", "clock", "timed", "intake", "concurrency"],
)
def test_what_can_not_be_in_order_is_refused_with_the_fix(declare: Callable[[], Any], words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        declare()
    assert words in str(error.value)


async def test_what_is_refused_for_good_holds_nobody(mesh_of: MeshOf) -> None:
    service = work()

    @service.on(in_order=True)
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, but not the first one."""
        if asked.job_id == "j-0":
            raise Permanent("not this one")
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await ask(mesh, 3)
    assert await finished(mesh, 2) == ["j-1", "j-2"]


@pytest.fixture
def routed_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that routes the jobs by key into two streams."""
    pairs = ", ".join(f'"{source}": "{to}"' for source, to in mappings([desk()], {"JOBS": 2}).items())
    config = tmp_path / "nats-server.conf"
    config.write_text(f"mappings: {{{pairs}}}\n")
    with Broker(tmp_path / "routed", "-c", str(config)) as server:
        yield server


async def test_partitions_go_on_beside_one_another(mesh_of: MeshOf, routed_broker: Broker) -> None:
    """The first of one partition waits for the first of the other: one at a time would wait for ever."""
    service, both = work(), asyncio.Barrier(2)
    order: list[str] = []

    @service.on(in_order=True)
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it together with one of the other partition."""
        order.append(asked.job_id)
        await asyncio.wait_for(both.wait(), 20)
        return Finished(job_id=asked.job_id)

    keys = [f"j-{number}" for number in range(20)]
    sides = [[key for key in keys if partition_of(key, 2) == side][:4] for side in (0, 1)]
    mesh = await mesh_of(desk(), service, start=False, NATS_URL=routed_broker.url, JETMESH_PARTITIONS="jobs=2")
    for key in (key for pair in zip(*sides, strict=True) for key in pair):
        await mesh.record(Asked(job_id=key))
    await mesh.start(service)
    await mesh.recorded(Finished, sides[0][-1])
    await mesh.recorded(Finished, sides[1][-1])
    assert [[key for key in order if key in side] for side in sides] == sides
