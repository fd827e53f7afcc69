"""What is kept beside a stream is of one life of it: a stream that is made anew, or restored, gives its sequences to
other messages, and none of them is taken for one that was before."""

import logging
import time
from collections.abc import Sequence

import pytest

from jetmesh import Recorded
from jetmesh.history import UNKNOWN, History, Restoration, history_of
from jetmesh.jetstream import api
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.operate.replay import Unfit
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh.topology import provision
from jetmesh.topology.provision import Change
from tests.support.jobs import Asked, Finished, work
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate


async def make_anew(mesh: LocalMesh, stream: str) -> None:
    """Somebody removes a stream, and the topology is applied."""
    await api.request(mesh.context.connection, f"STREAM.DELETE.{stream}", strict=True)
    await mesh.apply()


def test_a_history_says_what_a_restore_has_undone() -> None:
    history = History(born=10.0).after(Restoration(100.0, 7)).after(Restoration(200.0, 9))
    assert history.holds(7, 50.0)
    assert not history.holds(8, 50.0)
    assert history.holds(8, 150.0)
    assert not history.holds(12, 150.0)
    assert history.holds(12, 250.0)
    assert history.holds(3_000, 5.0), "what is older than the stream was there before it"
    assert history.counted_from(50.0) == 200.0
    assert UNKNOWN.counted_from(50.0) == 50.0
    info = {"config": {"metadata": history.metadata}, "created": "2026-01-01T00:00:00Z"}
    assert history_of(info) == history


async def test_a_new_dead_letter_at_a_used_place_is_there(mesh_of: MeshOf) -> None:
    bank = Bank(blacklist={"car-1", "car-2"})
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    assert await mesh.record(CarArrived(plate="car-1")) == 1
    await mesh.dead_letters(1)
    await make_anew(mesh, "CARS")
    assert await mesh.record(CarArrived(plate="car-2")) == 1
    letters = await mesh.dead_letters(2)
    assert {letter.headers["Jetmesh-Subject"] for letter in letters} == {"cars.arrived.car-1", "cars.arrived.car-2"}


async def test_a_letter_of_the_stream_before_is_not_replayed_with_the_message_of_the_new_one(mesh_of: MeshOf) -> None:
    bank = Bank(blacklist={"car-1"})
    mesh = await mesh_of(tollgate(), dependencies=[Gate(bank)])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.dead_letters(1)
    await make_anew(mesh, "CARS")
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.dead_letters(2)
    bank.blacklist.clear()
    post = DeadLetters(mesh.context.connection, mesh.context.publisher, by="ada@desk")
    old, new = [letter async for letter in post.all()]
    with pytest.raises(Unfit, match="a new or restored one"):
        await post.replay(old)
    await post.replay(new)
    await mesh.recorded(TollPaid, "car-1")


async def test_a_delivery_set_aside_at_a_used_place_comes_back(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(watches=True), dependencies=[Gate(Bank())])
    assert await mesh.record(CarArrived(plate="car-1")) == 1
    await mesh.until(lambda: mesh.count("TOLLS_TIMERS"))
    await make_anew(mesh, "CARS")
    assert await mesh.record(CarArrived(plate="car-2")) == 1
    await mesh.until(lambda: _has(mesh, "gates.seen", "car-2"), 30)
    await mesh.until(lambda: _has(mesh, "gates.seen", "car-1"), 30)


async def _has(mesh: LocalMesh, event_type: str, key: str) -> bool:
    return event_type in await mesh.types(key)


async def test_what_was_decided_about_another_message_at_the_same_place_is_not_recorded(
    mesh_of: MeshOf, caplog: pytest.LogCaptureFixture
) -> None:
    service = work()

    @service.on
    async def tell(asked: Asked) -> Finished:
        """Somebody wants a job done: send a mail."""
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    caplog.set_level(logging.WARNING, "jetmesh.reaction")
    info = await api.request(mesh.context.connection, "STREAM.INFO.WORK", strict=True)
    full = {**info["config"], "max_msgs": 1}
    await api.request(mesh.context.connection, "STREAM.UPDATE.WORK", full, strict=True)
    await mesh.record(Asked(job_id="j-0"))
    await mesh.recorded(Finished, "j-0")
    await make_anew(mesh, "JOBS")
    for key in ("j-1", "j-2"):
        await mesh.record(Asked(job_id=key))
    await mesh.until(lambda: any("10077" in message for message in caplog.messages))
    await make_anew(mesh, "JOBS")
    for key in ("j-3", "j-4"):
        await mesh.record(Asked(job_id=key))
    await api.request(mesh.context.connection, "STREAM.UPDATE.WORK", {**full, "max_msgs": -1}, strict=True)
    for key in ("j-3", "j-4"):
        await mesh.recorded(Finished, key)
    assert await mesh.dead_letters() == []


async def test_a_store_is_told_of_a_stream_that_was_made_anew_while_it_runs(mesh_of: MeshOf) -> None:
    service, kept = work(), list[Recorded]()

    @service.on
    async def finish(job: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=job.job_id)

    @service.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        kept.extend(events)

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: len(kept) == 1)
    began = time.time()
    await make_anew(mesh, "WORK")

    async def told() -> bool:
        await mesh.record(Asked(job_id=f"j-{time.time_ns()}"))
        return kept[-1].history.born >= began

    await mesh.until(told, 30)
    assert 0 < kept[0].history.born < began


async def test_a_durable_that_does_not_tell_the_history_is_told_it(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    info = await api.request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge", strict=True)
    body = {"stream_name": "CARS", "config": {**info["config"], "metadata": {"owner": "ada"}}}
    await api.request(mesh.context.connection, "CONSUMER.CREATE.CARS.tolls-charge", body, strict=True)
    steps = await provision.plan(mesh.context.connection, mesh.topology)
    assert [step.name for step in steps if step.change is not Change.KEEP] == ["CARS/tolls-charge"]
    await provision.apply(mesh.context.connection, steps)
    info = await api.request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge", strict=True)
    assert info["config"]["metadata"]["owner"] == "ada"
    assert history_of({**info, "created": ""}).born > 0
