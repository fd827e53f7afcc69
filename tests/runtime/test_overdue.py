"""A broker that has forgotten when a timer is due owes it; the service schedules it again."""

import os
import signal
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from jetmesh import Unavailable
from jetmesh.jetstream import api
from jetmesh.runtime import overdue, scheduled
from jetmesh.runtime.runner import Runner
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from tests.support.jobs import Asked, Finished, finishing_at_last
from tests.support.ledger import closing

FAR = 1 << 40


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, for what is a little late."""
    monkeypatch.setattr(overdue, "LOOK_SECONDS", 0.2)
    for module in (overdue, scheduled):
        monkeypatch.setattr(module, "OVERDUE_SECONDS", 0.5)


@pytest.fixture
def nats_broker(tmp_path: Path) -> Iterator[Broker]:
    """One of each test's own, which may forget."""
    with Broker(tmp_path) as broker:
        yield broker


async def forget(broker: Broker, folder: Path) -> None:
    """Stop the broker, and start it with a file of times that says that there are none, up to a far sequence."""
    os.kill(broker.pid, signal.SIGTERM)
    await until(lambda: "Server Exiting" in broker.log)
    broker.kill()
    write_no_times(folder)
    broker.start()


def write_no_times(folder: Path) -> None:
    for stream in folder.glob("jetstream/*/streams/*_TIMERS"):
        (stream / "msgs" / "sched.db").write_bytes(b"\x01" + struct.pack("<QQ", 0, FAR))


async def test_a_delayed_redelivery_comes_though_the_broker_has_forgotten_it(
    mesh_of: MeshOf, nats_broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[str] = []
    service = finishing_at_last(attempts, 3.0)
    mesh = await mesh_of(service)
    await mesh.start(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: mesh.count("WORK_TIMERS"))
    await forget(nats_broker, tmp_path)
    await mesh.recorded(Finished, "j-1")
    await mesh.settled()
    assert attempts == ["j-1", "j-1"]
    assert "the broker owed timers.work.finish.JOBS.1" in caplog.text


async def test_what_stays_behind_all_that_is_settled_comes_again_in_its_own_place(
    mesh_of: MeshOf, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "_settled", lambda _: FAR)
    attempts: list[str] = []
    service = finishing_at_last(attempts, 2.5)
    mesh = await mesh_of(service)
    await paused(mesh, minutes=1)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: "the broker owed due.work.finish.JOBS.1" in caplog.text)
    await mesh.until(partial(came_twice, mesh))
    assert list((await due(mesh)).values()) == [1]
    await paused(mesh, minutes=0)
    await mesh.recorded(Finished, "j-1")
    await mesh.settled()
    assert attempts == ["j-1", "j-1"]


async def due(mesh: LocalMesh) -> dict[str, int]:
    """What has come, and is there: the messages on each subject."""
    wanted = {"subjects_filter": "due.>"}
    found = await api.request(mesh.context.connection, "STREAM.INFO.WORK_TIMERS", wanted, strict=True)
    return dict(found["state"].get("subjects") or {})


async def came_twice(mesh: LocalMesh) -> bool:
    """Whether a timer was stored at least twice, and what came of each: four messages."""
    found = await api.request(mesh.context.connection, "STREAM.INFO.WORK_TIMERS", strict=True)
    return int(found["state"]["last_seq"]) >= 4 and bool(await due(mesh))


async def paused(mesh: LocalMesh, minutes: int) -> None:
    """Pause what comes back, or let it go on."""
    until = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    call = "CONSUMER.PAUSE.WORK_TIMERS.work-due"
    await api.request(mesh.context.connection, call, {"pause_until": until}, strict=True)


async def test_a_tick_comes_though_the_broker_has_forgotten_the_schedule(
    mesh_of: MeshOf, nats_broker: Broker, tmp_path: Path
) -> None:
    mesh = await mesh_of(closing("* * * * * *"))
    await mesh.until(partial(more, mesh, 0))
    await forget(nats_broker, tmp_path)
    await mesh.until(partial(more, mesh, 5), what="the schedule goes on")


async def more(mesh: LocalMesh, count: int) -> bool:
    """Whether so many more than the three at first were recorded; not while the broker is away."""
    with suppress(Unavailable):
        return await mesh.count("LEDGER") >= 3 + count
    return False
