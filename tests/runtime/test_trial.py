"""A delivery whose handling kills its process is a dead letter after its attempts, and takes no other one with it."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import pytest

from jetmesh.service import Service
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh.trial import CHANCES
from tests.runtime import deadly
from tests.runtime.deadly import ATTEMPTS, DEADLY
from tests.runtime.jobs import Asked

INNOCENT = {f"j-{number}" for number in range(20)}


@pytest.mark.parametrize(("app", "service"), [("ONE_BY_ONE", deadly.one_by_one), ("TOGETHER", deadly.together)])
async def test_only_who_kills_its_process_is_given_up(mesh_of: MeshOf, app: str, service: Service) -> None:
    mesh = await mesh_of(service, start=False, JETMESH_ACK_WAIT_SECONDS="1")
    for key in (*INNOCENT, DEADLY):
        await mesh.record(Asked(job_id=key))
    deaths = await asyncio.wait_for(_deaths_until_settled(mesh, app), 90)
    (letter,) = await mesh.dead_letters()
    assert (letter.headers["Jetmesh-Error-Type"], letter.headers["Jetmesh-Subject"]) == (
        "Exhausted",
        "jobs.asked.deadly",
    )
    assert CHANCES <= deaths <= ATTEMPTS + CHANCES
    assert await mesh.count("WORK") == len(INNOCENT)


async def _deaths_until_settled(mesh: LocalMesh, app: str) -> int:
    """How many processes of the service died, one after the other, until one of them has settled everything."""
    environment = {**os.environ, **mesh.environment, "JETMESH_APP": f"tests.runtime.deadly:{app}"}
    for deaths in range(100):
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "jetmesh", "run", env=environment)
        settling = asyncio.ensure_future(mesh.settled(60))
        await asyncio.wait(
            [settling, dying := asyncio.ensure_future(process.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        if settling.done():
            process.terminate()
            await dying
            return deaths
        settling.cancel()
        with suppress(asyncio.CancelledError):
            await settling
        assert dying.result() == -signal.SIGKILL
    raise AssertionError("it never ended")
