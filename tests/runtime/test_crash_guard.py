"""A delivery whose handling kills its process is a dead letter after its attempts, and takes no other one with it."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from jetmesh.runtime.crash_guard import CHANCES
from jetmesh.service import Service
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.support import deadly
from tests.support.deadly import ATTEMPTS, DEADLY
from tests.support.jobs import Asked

INNOCENT = {f"j-{number}" for number in range(20)}


@pytest.mark.parametrize(("app", "service"), [("ONE_BY_ONE", deadly.one_by_one), ("TOGETHER", deadly.together)])
async def test_only_who_kills_its_process_is_given_up(mesh_of: MeshOf, app: str, service: Service) -> None:
    mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="1")
    for key in (*INNOCENT, DEADLY):
        await mesh.record(Asked(job_id=key))
    deaths = await asyncio.wait_for(_deaths_until(mesh.settled, mesh, app), 90)
    (letter,) = await mesh.dead_letters()
    assert letter.headers["Jetmesh-Error-Type"] == "Exhausted"
    assert letter.headers["Jetmesh-Reason"].startswith("still not handled after ")
    assert letter.headers["Jetmesh-Subject"] == "jobs.asked.deadly"
    assert CHANCES <= deaths <= ATTEMPTS + CHANCES
    assert await mesh.count("WORK") == len(INNOCENT)


async def test_where_nothing_is_given_up_the_others_get_by(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(deadly.patient, start=False, JETMESH_ACK_WAIT_SECONDS="1")
    for key in (DEADLY, *INNOCENT):
        await mesh.record(Asked(job_id=key))

    async def all_done(within_seconds: float) -> None:
        async def done() -> bool:
            return await mesh.count("WORK") == len(INNOCENT)

        await until(done, within_seconds)

    assert await asyncio.wait_for(_deaths_until(all_done, mesh, "PATIENT"), 120) > 2
    assert await mesh.dead_letters() == []


async def _deaths_until(condition: Callable[[float], Awaitable[None]], mesh: LocalMesh, app: str) -> int:
    """How many processes of the service died, one after the other, until the condition held."""
    environment = {**os.environ, **mesh.environment, "JETMESH_APP": f"tests.support.deadly:{app}"}
    for deaths in range(100):
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "jetmesh", "run", env=environment)
        waiting = asyncio.ensure_future(condition(60))
        dying = asyncio.ensure_future(process.wait())
        await asyncio.wait([waiting, dying], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            with suppress(ProcessLookupError):
                process.kill()
            await dying
            await waiting
            return deaths
        while not waiting.done():  # a cancellation can be lost in `asyncio.wait_for` (before Python 3.12)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=0.1)
        assert dying.result() == -signal.SIGKILL
    raise AssertionError("it never ended")
