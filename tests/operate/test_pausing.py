"""A reaction that an operator pauses rests in every process; what comes meanwhile waits, and is handled once."""

import asyncio
import itertools
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh import NotYet, Retry
from jetmesh.commands import commands
from jetmesh.commands.top import picture
from jetmesh.common.console import Console
from jetmesh.common.own_name import own_name
from jetmesh.jetstream import api
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.operate.overview import look
from jetmesh.runtime import durable_watch, unrouted
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.support.jobs import APP, SERVICES, Asked, Finished, work


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_watch, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(unrouted, "REST_SECONDS_MAX", 0.5)


async def _run(mesh: LocalMesh, *arguments: str, app: str = APP) -> Any:
    run = CliRunner(env={"NATS_URL": mesh.settings.nats_url, "JETMESH_APP": app})
    return await asyncio.to_thread(run.invoke, commands, [*arguments])


async def _waiting(mesh: LocalMesh, place: str) -> int:
    info = await api.request(mesh.context.connection, f"CONSUMER.INFO.{place}", strict=True)
    return int(info["num_pending"])


def _remarks(mesh: LocalMesh) -> list[str]:
    return [said for replica in mesh.replicas for said in replica.health.remarks().values()]


async def test_a_paused_reaction_rests_in_every_replica_until_it_is_resumed(mesh_of: MeshOf) -> None:
    desk, finishing = SERVICES
    mesh = await mesh_of(desk, finishing)
    await mesh.start(finishing)
    paused = await _run(mesh, "pause", "work.finish")
    assert (paused.exit_code, paused.output) == (0, "work.finish rests; `jetmesh resume work.finish` lets it go on\n")
    for number in range(20):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.until(lambda: len([said for said in _remarks(mesh) if "`jetmesh resume work.finish`" in said]) == 2)
    assert not any(replica.health.why_not for replica in mesh.replicas)
    assert (await _waiting(mesh, "JOBS.work-finish"), await mesh.count("WORK")) == (20, 0)
    overview = await look(mesh.context.connection, SERVICES)
    (row,) = [row for row in overview.rows if row.name == "finish"]
    assert row.lag.paused.startswith("paused until 21")
    console = Console(width=120)
    with console.capture() as shown:
        console.print(picture(overview, 120))
    assert "work.finish is paused until" in shown.get()
    assert "lag 0" in shown.get()
    resumed = await _run(mesh, "resume", "work.finish")
    assert (resumed.exit_code, resumed.output) == (0, "work.finish goes on\n")
    for number in range(20):
        await mesh.recorded(Finished, f"j-{number}")
    await mesh.until(lambda: not _remarks(mesh))
    assert await mesh.count("WORK") == 20
    log = await DeadLetters(mesh.context.connection, mesh.context.publisher).log()
    assert [(entry.action, entry.reaction, entry.note) for entry in log] == [
        ("paused", "work.finish", "until it is resumed"),
        ("resumed", "work.finish", ""),
    ]
    assert {entry.by for entry in log} == {own_name()}


async def test_a_pause_ends_by_itself(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES)
    assert (await _run(mesh, "pause", "work", "--for", "2s")).exit_code == 0
    await mesh.record(Asked(job_id="j-1"))
    assert await mesh.count("WORK") == 0
    await mesh.recorded(Finished, "j-1")


async def test_what_comes_back_to_a_paused_reaction_waits_too(mesh_of: MeshOf) -> None:
    """A delayed redelivery comes on the lane of its service, which is not paused."""
    service, tries = work(), list[str]()

    @service.on(retry=Retry(attempts=3, first_seconds=4.0, longest_seconds=4.0))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: not at the first attempt."""
        tries.append(asked.job_id)
        if len(tries) == 1:
            raise NotYet("it rests")
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(SERVICES[0], service)
    asked = itertools.count(1)

    async def is_delayed() -> bool:
        """The pause is drawn evenly and only a long one is a schedule: ask for jobs, one at a time, until one is."""
        tries.clear()
        number = next(asked)
        await mesh.record(Asked(job_id=f"j-{number}"))

        async def has_one() -> bool:
            return bool(await mesh.count("WORK_TIMERS") or await mesh.count("WORK") == number)

        await mesh.until(has_one, what="the job is delayed or finished")
        return await mesh.count("WORK_TIMERS") == 1

    await mesh.until(is_delayed)
    assert (await _run(mesh, "pause", "work.finish")).exit_code == 0
    await mesh.until(lambda: _remarks(mesh))

    async def came_back() -> bool:
        info = await api.request(mesh.context.connection, "CONSUMER.INFO.WORK_TIMERS.work-due", strict=True)
        return bool(info["delivered"]["consumer_seq"] >= 2)

    await mesh.until(came_back, what="it came back twice")
    assert len(tries) == 1
    assert (await _run(mesh, "resume", "work.finish")).exit_code == 0
    await until(lambda: len(tries) == 2)
    assert await mesh.dead_letters() == []


WRONG = {
    ("work.finnish",): "there is no reaction 'work.finnish'; there are jobs, jobs.due, jobs.intake, work, work.due",
    (
        "jobs.take",
    ): "jobs.take takes what comes from outside, by the one durable of all such reactions: name jobs.intake",
    ("work.finish", "--for", "soon"): "'soon' is not a length of time: write 30d, 12h, 90m or 0s",
    ("work.finish", "--until", "2026-01-01T00:00"): "'2026-01-01T00:00' is not a time with its zone: write",
    ("work.finish", "--until", "2001-01-01T00:00:00Z"): "2001-01-01T00:00:00+00:00 is past",
    (
        "work.finish",
        "--until",
        "2206-12-01T08:00Z",
    ): "is more than 366 days ahead: give an earlier time, or none, and resume it",
    ("work.finish", "--for", "400d"): "is more than 366 days ahead",
    ("work.finish", "--for", "0s"): "is past",
    ("work.finish", "--for", "1h", "--until", "2201-01-01T00:00:00Z"): "give --for or --until, not both",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
async def test_a_wrong_pause_says_what_is_right(mesh_of: MeshOf, arguments: tuple[str, ...]) -> None:
    mesh = await mesh_of(*SERVICES, start=False)
    said = await _run(mesh, "pause", *arguments)
    assert said.exit_code == 2
    assert WRONG[arguments] in " ".join(said.output.replace("│", " ").split()), said.output
