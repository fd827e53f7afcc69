"""Group commit: alone or in batches, whichever this broker stores faster; every guard holds in both ways."""

import asyncio
from itertools import count

import pytest

from jetmesh.jetstream.group_commit import BATCH_MIN, GroupCommit
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.store_pace import RUN, StorePace
from jetmesh.jetstream.transport import Server
from jetmesh.testing import Broker, LocalMesh, MeshOf, Proxy
from tests.support.jobs import Finished, finishing

BURST = 8 * BATCH_MIN
WITHIN_SECONDS = 60.0
_numbers = count()


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    return await mesh_of(finishing(), start=False)


def group_commit(mesh: LocalMesh) -> GroupCommit:
    """One that finds out how quickly the stream is stored."""
    pace = StorePace(mesh.context.connection, mesh.context.direct_get)
    return GroupCommit(mesh.context.publisher, lambda _: "WORK", pace)


def begun(key: str) -> Message:
    """The first event of a story."""
    return Message(
        f"work.finished.{key}", Finished(job_id=key).model_dump_json().encode(), {}, Guard(f"work.*.{key}", 0)
    )


async def batched(mesh: LocalMesh, commit: GroupCommit) -> int:
    """Record a burst; how many of it the broker stored in batches."""
    keys = [f"j-{next(_numbers)}" for _ in range(BURST)]
    sequences = await asyncio.gather(*(commit.record(begun(key)) for key in keys))
    stored = {each.key: each for each in await mesh.context.direct_get.last("WORK", [f"work.*.{key}" for key in keys])}
    assert sequences == [stored[key].sequence for key in keys]
    return sum(Nats.BATCH_ID in each.headers for each in stored.values())


async def until_alone(mesh: LocalMesh, commit: GroupCommit) -> None:
    """Bursts until one needs no batch: other processes may have the processor while the broker is looked at."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while await batched(mesh, commit):
            pass


async def test_where_the_broker_stores_quickly_a_burst_goes_alone(mesh: LocalMesh) -> None:
    commit = group_commit(mesh)
    assert await batched(mesh, commit) > 0
    await until_alone(mesh, commit)


async def test_each_guard_holds_alone_and_in_batches(mesh: LocalMesh) -> None:
    commit = group_commit(mesh)
    for _ in range(2):
        keys = [f"j-{next(_numbers)}" for _ in range(BURST)]
        twice = [commit.record(begun(key)) for key in keys for _ in range(2)]
        outcomes = await asyncio.gather(*twice, return_exceptions=True)
        assert sum(isinstance(outcome, int) for outcome in outcomes) == BURST
        assert sum(isinstance(outcome, Refused) for outcome in outcomes) == BURST
        await until_alone(mesh, commit)


async def test_messages_that_came_one_by_one_do_not_tell_that_it_stores_quickly(mesh: LocalMesh) -> None:
    last = [await mesh.context.publisher.record(begun(f"j-{next(_numbers)}")) for _ in range(RUN)][-1]
    assert not await StorePace(mesh.context.connection, mesh.context.direct_get).is_quick("WORK", last)


async def test_in_a_cluster_and_without_an_answer_nobody_knows(
    mesh: LocalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = group_commit(mesh)
    await until_alone(mesh, commit)
    pace, last = StorePace(mesh.context.connection, mesh.context.direct_get), await mesh.count("WORK")
    assert not await pace.is_quick("NOWHERE", last)
    monkeypatch.setattr(type(mesh.context.connection), "server", Server({"cluster": "C"}))
    assert not await pace.is_quick("WORK", last)


async def test_after_a_reconnection_it_is_found_out_again(mesh_of: MeshOf, broker: Broker) -> None:
    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(finishing(), start=False, NATS_URL=proxy.url)
        commit, again = group_commit(mesh), asyncio.Event()
        mesh.context.connection.on_reconnected(again.set)
        await until_alone(mesh, commit)
        proxy.cut()
        await asyncio.wait_for(again.wait(), WITHIN_SECONDS)
        assert await batched(mesh, commit) > 0
