"""Pulling goes on: after a crash of the broker, a broken or silent connection, a consumer that was deleted."""

import asyncio
from typing import Any

import pytest

from jetmesh.jetstream import pull
from jetmesh.jetstream.api import request
from jetmesh.runtime import continuity
from jetmesh.service import Service
from jetmesh.testing import Broker, LocalMesh, MeshOf, Proxy
from tests.support import jobs
from tests.support.jobs import Asked, Finished, Work, work

Finishing = tuple[Service, list[str]]
WorkingLong = tuple[Service, list[str], asyncio.Event]


@pytest.fixture
def finishing() -> Finishing:
    """A service that finishes every job, and the keys it saw."""
    ran: list[str] = []
    return jobs.finishing(ran), ran


@pytest.fixture
def working_long() -> WorkingLong:
    """A service that begins every job and ends it once it may; the keys that it began."""
    service, began, gate = work(), list[str](), asyncio.Event()

    @service.begins
    async def work_long(asked: Asked) -> Finished:
        """Somebody wants a job done: begin, and wait."""
        began.append(asked.job_id)
        await gate.wait()
        return Finished(job_id=asked.job_id)

    return service, began, gate


@pytest.mark.usefixtures("brief_pause_after_a_crash")
async def test_a_crash_of_the_broker_is_survived_without_end(
    mesh_of: MeshOf, broker: Broker, finishing: Finishing
) -> None:
    service, _ = finishing
    mesh = await mesh_of(service)
    for number in range(3):
        broker.restart()
        await mesh.record(Asked(job_id=f"j-{number}"))
        await mesh.recorded(Finished, f"j-{number}")


@pytest.mark.parametrize("wait_for_loss", [False, True], ids=["at once", "while it tries again"])
async def test_a_stop_while_the_broker_is_away_is_a_stop(
    mesh_of: MeshOf, broker: Broker, finishing: Finishing, wait_for_loss: bool
) -> None:
    service, _ = finishing
    mesh = await mesh_of(service)
    broker.kill()
    if wait_for_loss:
        await mesh.until(lambda: mesh.replicas[0].health.why_not == "not connected to the broker")
    await asyncio.wait_for(mesh.replicas[0].stop(), 10)


@pytest.mark.usefixtures("brief_pause_after_a_crash")
async def test_a_broken_connection_is_made_again(mesh_of: MeshOf, broker: Broker, finishing: Finishing) -> None:
    """What the broker sent into the broken one comes again after the ack wait."""
    service, _ = finishing
    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="1")
        replica = await mesh.start(service, NATS_URL=proxy.url)
        for number in range(3):
            proxy.cut()
            await mesh.record(Asked(job_id=f"j-{number}"))
            await mesh.recorded(Finished, f"j-{number}")
        await replica.stop()


async def test_a_deleted_consumer_is_trouble_until_it_is_there_again(
    mesh_of: MeshOf, finishing: Finishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_SECONDS", 0.5)
    service, ran = finishing
    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    for consumer in mesh.topology.consumers:
        await _delete(mesh, consumer.stream, consumer.durable)
    reason = await mesh.until(lambda: mesh.replicas[0].health.why_not)
    assert "work-finish: " in reason
    await mesh.apply()
    await mesh.until(lambda: len(ran) == 2, what="everything is read again")
    await mesh.until(lambda: not mesh.replicas[0].health.why_not)
    await mesh.record(Asked(job_id="j-2"))
    await mesh.recorded(Finished, "j-2")


async def test_what_a_durable_made_anew_delivers_before_anybody_looked_is_acknowledged(
    mesh_of: MeshOf, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, may_look = work(), asyncio.Event()
    may_look.set()

    @service.on
    async def finish(asked: Asked, story: Work) -> Finished | None:
        """Somebody wants a job done: do it."""
        return None if story.finished else Finished(job_id=asked.job_id)

    async def late(*arguments: Any) -> Any:
        await may_look.wait()
        return await request(*arguments)

    async def is_in_hand() -> bool:
        info = await request(mesh.context.connection, "CONSUMER.INFO.JOBS.work-finish", strict=True)
        return int(info["num_ack_pending"]) == 1

    monkeypatch.setattr(continuity, "request", late)
    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(service, start=False)
        replica = await mesh.start(service, NATS_URL=proxy.url)
        await mesh.record(Asked(job_id="j-1"))
        await mesh.settled()
        may_look.clear()
        proxy.swallow_answers()
        await mesh.deliver_again(service)
        proxy.cut()
        await mesh.until(is_in_hand)
        may_look.set()
        await mesh.settled()
        await replica.stop()


async def _delete(mesh: LocalMesh, stream: str, durable: str) -> None:
    await mesh.context.connection.ask(f"$JS.API.CONSUMER.DELETE.{stream}.{durable}", b"")


async def test_a_silent_connection_is_noticed_by_its_missing_heartbeats(
    mesh_of: MeshOf, broker: Broker, finishing: Finishing, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_SECONDS", 0.5)
    caplog.set_level("INFO", "jetmesh.pull")
    service, _ = finishing
    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="1")
        replica = await mesh.start(service, NATS_URL=proxy.url)
        proxy.swallow_answers()
        await mesh.record(Asked(job_id="j-1"))
        await mesh.until(lambda: "no frame from JOBS/work-finish" in caplog.text)
        proxy.let_pass()
        await mesh.recorded(Finished, "j-1")
        await mesh.settled()
        await replica.stop()
    assert await mesh.count("WORK") == 1


async def test_an_event_with_a_status_header_of_its_own_is_an_event(mesh_of: MeshOf, finishing: Finishing) -> None:
    service, _ = finishing
    mesh = await mesh_of(service)
    await mesh.publish("jobs.asked.j-1", Asked(job_id="j-1").model_dump_json(), {"Status": "404", "Description": "No"})
    await mesh.recorded(Finished, "j-1")


async def test_no_more_is_in_hands_than_there_are_slots(mesh_of: MeshOf) -> None:
    service = work()
    running, most, gate = 0, 0, asyncio.Event()

    @service.begins
    async def wait(asked: Asked) -> Finished:
        """Waits until it may go on."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service, JETMESH_SLOTS="4")
    await asyncio.gather(*(mesh.record(Asked(job_id=f"j-{number}")) for number in range(40)))
    await mesh.until(lambda: running == 4)
    gate.set()
    await mesh.settled()
    assert await mesh.count("WORK") == 40
    assert most == 4


async def test_long_work_stays_in_progress_beyond_the_ack_wait(mesh_of: MeshOf, working_long: WorkingLong) -> None:
    service, began, gate = working_long
    mesh = await mesh_of(service, JETMESH_ACK_WAIT_SECONDS="1")
    sequence = await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: began)
    loop = asyncio.get_running_loop()
    beyond = loop.time() + 2.5
    await mesh.until(lambda: loop.time() > beyond, what="more than twice the ack wait is over")
    gate.set()
    await mesh.recorded(Finished, "j-1")
    assert (sequence, began) == (1, ["j-1"])


async def test_what_is_in_hand_already_is_not_taken_again(mesh_of: MeshOf, working_long: WorkingLong) -> None:
    """A durable made anew delivers it once more, as any does to a process that was stopped beyond the ack wait."""
    service, began, gate = working_long
    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: began)
    for consumer in mesh.topology.consumers:
        await _delete(mesh, consumer.stream, consumer.durable)
    await mesh.apply()
    await mesh.record(Asked(job_id="j-2"))
    await mesh.until(lambda: "j-2" in began, what="the durable made anew has delivered everything")
    gate.set()
    await mesh.settled()
    assert began == ["j-1", "j-2"]
