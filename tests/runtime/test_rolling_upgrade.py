"""Two versions of an app, each in processes of its own, on the same durables: a release that widens a reaction, one
that narrows it, one that brings a new outcome, and the way back. Every job is done once, without a dead letter."""

import asyncio
from pathlib import Path

from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.support.jobs import Asked, Finished
from tests.support.processes import Running, running
from tests.support.versions import Urged

JOBS = 60
OLDER, NEWER, NEWEST = (f"tests.support.versions:{name}" for name in ("OLDER", "NEWER", "NEWEST"))


async def applied(mesh: LocalMesh, app: str, *arguments: str) -> None:
    """`jetmesh topology apply`, as a release does it."""
    run = CliRunner(env={"NATS_URL": mesh.settings.nats_url, "JETMESH_APP": app})
    done = await asyncio.to_thread(run.invoke, commands, ["topology", "apply", *arguments])
    assert done.exit_code == 0, done.output


async def ready(process: Running) -> None:
    await until(lambda: process.is_ready, 30, "the process is ready")


async def gone(process: Running) -> None:
    process.stop()
    await process.ended()


async def wanted(mesh: LocalMesh, begin: int) -> None:
    """Jobs are asked for, and every second one is urgent."""
    for number in range(begin, begin + JOBS):
        await mesh.record(Urged(job_id=f"j-{number}") if number % 2 else Asked(job_id=f"j-{number}"))


async def finished(mesh: LocalMesh, total: int) -> None:
    async def are() -> bool:
        return await mesh.count("WORK") == total

    await mesh.until(are, within_seconds=60, what=f"{total} jobs are finished")


async def nothing_waits(mesh: LocalMesh, place: str) -> None:
    async def nothing() -> bool:
        info = await api.request(mesh.context.connection, f"CONSUMER.INFO.{place}", strict=True)
        return not info["num_pending"] and not info["num_ack_pending"]

    await mesh.until(nothing, within_seconds=60, what=f"nothing waits in {place}")


async def test_an_upgrade_widens_a_reaction_and_a_roll_back_leaves_it_wide(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(start=False)
    environment = {"NATS_URL": mesh.settings.nats_url}
    await applied(mesh, OLDER)
    with running(tmp_path, "work", app=OLDER, **environment) as old:
        await ready(old)
        await applied(mesh, NEWER)
        await wanted(mesh, 0)
        with running(tmp_path, "work", app=NEWER, **environment) as new:
            await ready(new)
            await wanted(mesh, JOBS)
            await finished(mesh, 2 * JOBS)
            await gone(new)
        await applied(mesh, OLDER)
        await wanted(mesh, 2 * JOBS)
        await finished(mesh, 2 * JOBS + JOBS // 2)
        with running(tmp_path, "work", app=NEWER, **environment) as new:
            await ready(new)
            await finished(mesh, 3 * JOBS)
    assert await mesh.dead_letters() == []


async def test_an_upgrade_narrows_a_reaction(mesh_of: MeshOf, tmp_path: Path) -> None:
    """What the new version does not take any more is not read, also what was on its way."""
    mesh = await mesh_of(start=False)
    environment = {"NATS_URL": mesh.settings.nats_url}
    await applied(mesh, NEWER)
    with running(tmp_path, "work", app=OLDER, **environment) as narrow:
        await ready(narrow)
        await wanted(mesh, 0)
        await finished(mesh, JOBS // 2)
        await applied(mesh, OLDER, "--prune")
        await nothing_waits(mesh, "JOBS.work-finish")
        await nothing_waits(mesh, "WORK_TIMERS.work-due")

        async def no_timers() -> bool:
            return await mesh.count("WORK_TIMERS") == 0

        await mesh.until(no_timers, within_seconds=60, what="nothing is delayed")
        await mesh.record(Asked(job_id="last"))
        await mesh.recorded(Finished, "last")
    assert await mesh.dead_letters() == []
    assert await mesh.count("WORK") == JOBS // 2 + 1


async def test_an_upgrade_brings_an_outcome_that_the_older_version_does_not_know(
    mesh_of: MeshOf, tmp_path: Path
) -> None:
    """Old and new processes decide about the same jobs, again and again: each has one outcome."""
    mesh = await mesh_of(start=False)
    environment = {"NATS_URL": mesh.settings.nats_url}
    await applied(mesh, NEWER)
    with running(tmp_path, "work", app=NEWER, **environment) as old:
        await ready(old)
        await applied(mesh, NEWEST)
        with running(tmp_path, "work", app=NEWEST, **environment) as new:
            await ready(new)
            await wanted(mesh, 0)
            await finished(mesh, JOBS)
            await nothing_waits(mesh, "JOBS.work-finish")
            place = "CONSUMER.RESET.JOBS.work-finish"
            await api.request(mesh.context.connection, place, {"seq": 1}, strict=True)
            await nothing_waits(mesh, "JOBS.work-finish")
            await gone(new)
        await api.request(mesh.context.connection, place, {"seq": 1}, strict=True)
        await nothing_waits(mesh, "JOBS.work-finish")
    assert await mesh.count("WORK") == JOBS
    assert await mesh.dead_letters() == []
