"""A stop is heard at once, whatever the process waits for; and what it waits for it says once, and in /readyz."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jetmesh.common.ports import free_port
from jetmesh.testing import Broker, MeshOf, until
from jetmesh.topology import accounts, nkeys
from tests.support.jobs import APP, SERVICES
from tests.support.operators import change_durable
from tests.support.processes import Running, running

LONG = {"JETMESH_CONNECT_SECONDS": "3600"}
SLOW = """
import asyncio
from contextlib import asynccontextmanager
from slow.service import SERVICES

@asynccontextmanager
async def wire(mesh):
    await asyncio.sleep(3600)
    yield None
"""
SLOW_SERVICE = '''
from jetmesh import Service
from tests.support.jobs import Asked, Finished

class Needs:
    """What it needs takes for ever to come."""

work = Service("work", Needs)

@work.begins
async def finish(asked: Asked, needs: Needs) -> Finished:
    """Somebody wants a job done: do it."""
    return Finished(job_id=asked.job_id)

SERVICES = (work,)
'''
IMPORTED_SECONDS = 120
"""Until Python has imported the runtime, however busy the machine is: it takes half a second of a processor."""


async def stops(process: Running, number: int = signal.SIGTERM) -> None:
    """It ends as it should."""
    process.stop(number)
    assert await process.ended() == 0, process.said
    assert "Traceback" not in process.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_while_the_broker_is_away(tmp_path: Path, number: int) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    with running(tmp_path, "work", app=APP, NATS_URL=url, **LONG) as process:
        await until(lambda: "waiting for the broker at " in process.why_not, 30)
        assert len(process.lines("waiting for the broker")) == 1, process.said
        assert process.get("/livez")[0] == 200
        await stops(process, number)


async def test_while_the_broker_hangs(tmp_path: Path, broker: Broker) -> None:
    os.kill(broker.pid, signal.SIGSTOP)
    with running(tmp_path, "work", app=APP, NATS_URL=broker.url, **LONG) as process:
        await until(lambda: process.get("/livez")[0] == 200, 30)
        await stops(process)
    os.kill(broker.pid, signal.SIGCONT)


async def test_while_it_loads(tmp_path: Path) -> None:
    (tmp_path / "sluggish.py").write_text("import time\ntime.sleep(3600)\n")
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    with running(tmp_path, "work", app="sluggish:SERVICES", **path) as process:
        await until(lambda: _catches(process.process.pid, signal.SIGTERM), IMPORTED_SECONDS)
        await stops(process)


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


async def test_while_the_topology_is_missing(tmp_path: Path, broker: Broker) -> None:
    with running(tmp_path, "work", app=APP, NATS_URL=broker.url) as process:
        await until(lambda: "waiting for the topology: it is not applied yet" in process.why_not, 30)
        await stops(process)
        assert len(process.lines("waiting for the topology")) == 1, process.said


async def test_while_the_topology_differs(tmp_path: Path, mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES, start=False)
    await change_durable(mesh, "INTAKE.jobs-intake", max_deliver=7)
    with running(tmp_path, "jobs", app=APP, **mesh.environment) as process:
        await until(lambda: "max_deliver: 7 -> -1" in process.why_not, 30)
        (line,) = process.lines("max_deliver: 7 -> -1")
        assert "update consumer INTAKE/jobs-intake" in line
        assert "run `jetmesh topology apply`" in line
        await mesh.apply()
        await until(lambda: process.is_ready, 30)
        await stops(process)


async def test_while_what_it_needs_is_missing(tmp_path: Path, mesh_of: MeshOf, monkeypatch: Any) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    for name, text in {"__init__": "", "service": SLOW_SERVICE, "wiring": SLOW}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    from slow.service import work  # type: ignore[import-not-found]

    mesh = await mesh_of(work, start=False)
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    with running(tmp_path, "work", app="slow.service:SERVICES", **mesh.environment, **path) as process:
        await until(lambda: process.why_not == "waiting for what the service needs", 30)
        await stops(process)


@pytest.mark.parametrize("wait_for_loss", [False, True], ids=["at once", "while it tries again"])
async def test_while_it_works_and_the_broker_hangs(
    tmp_path: Path, broker: Broker, mesh_of: MeshOf, wait_for_loss: bool
) -> None:
    mesh = await mesh_of(*SERVICES, start=False)
    with running(tmp_path, "work", app=APP, **mesh.environment) as process:
        await until(lambda: process.is_ready, 30)
        os.kill(broker.pid, signal.SIGSTOP)
        if wait_for_loss:
            await until(lambda: process.why_not.startswith("not connected"), 30)
        process.stop()
        assert await process.ended(40) == 0, process.said
    os.kill(broker.pid, signal.SIGCONT)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker with an account per service."""
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.configuration(SERVICES, nkeys.ensure(tmp_path / "keys", nkeys.users(SERVICES))))
    with Broker(tmp_path / "guarded", "-c", str(config)) as server:
        yield server


async def test_a_key_that_the_broker_does_not_know_is_said_and_ends_the_start(tmp_path: Path, guarded: Broker) -> None:
    nkeys.ensure(tmp_path / "foreign", ["work"])
    seed = str(nkeys.seed_file(tmp_path / "foreign", "work"))
    own = {"NATS_URL": guarded.url, "JETMESH_NATS_NKEY_SEED": seed, "JETMESH_CONNECT_SECONDS": "3"}
    with running(tmp_path, "work", app=APP, **own) as process:
        await until(lambda: "the broker does not know the key U" in process.why_not, 30)
        assert await process.ended() == 1
        assert process.said.splitlines()[-1].find("JETMESH_NATS_NKEY_SEED") > 0
        assert "no NATS server answered" not in process.said


async def test_no_key_where_one_is_asked_for_names_the_setting(tmp_path: Path, guarded: Broker) -> None:
    with running(tmp_path, "work", app=APP, NATS_URL=guarded.url, JETMESH_CONNECT_SECONDS="2") as process:
        assert await process.ended() == 1
        assert process.lines("the broker asks who this is: JETMESH_NATS_NKEY_SEED must name")
