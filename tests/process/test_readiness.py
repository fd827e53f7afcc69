"""`/readyz` says what is: no sign of trouble outlives its cause, and none is missed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jetmesh.jetstream import api
from jetmesh.process import process
from jetmesh.process.health import Health
from jetmesh.runtime import durable_watch
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from tests.support.jobs import Asked, Failed, Finished, work


@pytest.fixture
def service() -> Service:
    """Finishes each job, and has a deadline that rests for a quarter of an hour."""
    made = work()

    @made.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        return Finished(job_id=asked.job_id)

    @made.after(minutes=15)
    async def forget(finished: Finished) -> Failed:
        """A job was done long ago: forget it."""
        return Failed(job_id=finished.job_id)

    return made


async def _rests(mesh: LocalMesh) -> bool:
    info = await api.request(mesh.context.connection, "CONSUMER.INFO.WORK.work-forget")
    return bool(info and info["num_ack_pending"])


async def _resting(mesh: LocalMesh) -> None:
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    await until(lambda: _rests(mesh))


async def test_a_deadline_that_rests_is_no_trouble_after_a_restart_of_the_broker(
    mesh_of: MeshOf, broker: Broker, service: Service
) -> None:
    mesh = await mesh_of(service)
    await _resting(mesh)
    health = mesh.replicas[0].health
    os.kill(broker.pid, signal.SIGTERM)
    await until(lambda: health.why_not)
    broker.restart()
    await until(lambda: not health.why_not, 10)


async def _delete(mesh: LocalMesh, stream: str, durable: str) -> None:
    await api.request(mesh.context.connection, f"CONSUMER.DELETE.{stream}.{durable}", strict=True)


async def test_a_delivery_proves_health_as_a_heartbeat_does(mesh_of: MeshOf, service: Service) -> None:
    mesh = await mesh_of(service)
    health = mesh.replicas[0].health
    await _delete(mesh, "JOBS", "work-finish")
    await until(lambda: "work-finish" in health.why_not)

    async def order_on() -> None:
        for number in range(1_000):
            await mesh.record(Asked(job_id=f"j-{number}"))
            await asyncio.sleep(0.05)

    ordering = asyncio.create_task(order_on())
    await mesh.apply()
    await until(lambda: not health.why_not, 4)
    ordering.cancel()


async def test_a_durable_that_is_gone_while_its_pull_rests_is_noticed(
    mesh_of: MeshOf, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_watch, "POLL_SECONDS", 0.2)
    mesh = await mesh_of(service)
    await _resting(mesh)
    health = mesh.replicas[0].health
    await _delete(mesh, "WORK", "work-forget")
    await until(lambda: "WORK/work-forget" in health.why_not)
    await mesh.apply()
    await until(lambda: not health.why_not)


async def test_a_paused_durable_is_remarked(mesh_of: MeshOf, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_watch, "POLL_SECONDS", 0.2)
    mesh = await mesh_of(service)
    until_then = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    await _pause(mesh, until_then)
    health = mesh.replicas[0].health
    await until(lambda: "jetmesh resume work.finish" in health.remarks().get("JOBS/work-finish", ""))
    await _pause(mesh, "0001-01-01T00:00:00Z")
    await until(lambda: not health.remarks())


async def _pause(mesh: LocalMesh, when: str) -> Any:
    call = "CONSUMER.PAUSE.JOBS.work-finish"
    return await api.request(mesh.context.connection, call, {"pause_until": when}, strict=True)


async def test_a_service_is_ready_only_once_what_is_beside_it_takes_requests(mesh_of: MeshOf, service: Service) -> None:
    mesh = await mesh_of(service, start=False)
    up, over = asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        await over.wait()

    @asynccontextmanager
    async def wire(place: Context) -> AsyncIterator[None]:
        place.run(listen, name="the gate", up=up)
        yield None

    health = Health("work")
    life = asyncio.create_task(process.serve(service, [service], mesh.settings, health, asyncio.Event(), wire))
    await until(lambda: health.why_not == "waiting for the gate")
    up.set()
    await until(lambda: not health.why_not)
    over.set()
    with pytest.raises(RuntimeError, match="the gate has ended"):
        await asyncio.wait_for(life, 15)


async def test_a_service_ends_with_its_neighbour_though_a_cancellation_is_lost(
    mesh_of: MeshOf, service: Service
) -> None:
    mesh = await mesh_of(service, start=False)
    over, asked = asyncio.Event(), list[str]()

    async def listen() -> None:
        await over.wait()

    async def loses_its_first_cancellation() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        asked.append("to end")
        await asyncio.Event().wait()

    @asynccontextmanager
    async def wire(place: Context) -> AsyncIterator[None]:
        place.run(loses_its_first_cancellation, name="the deaf one")
        place.run(listen, name="the gate")
        yield None

    health = Health("work")
    life = asyncio.create_task(process.serve(service, [service], mesh.settings, health, asyncio.Event(), wire))
    await until(lambda: not health.why_not)
    over.set()
    with pytest.raises(RuntimeError, match="the gate has ended"):
        await asyncio.wait_for(life, 15)
    assert asked == ["to end"]
