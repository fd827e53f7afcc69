"""Two versions of a service at work on the same durables: what the older one does not know waits for the newer."""

import asyncio
from collections.abc import Sequence

from click.testing import CliRunner

from jetmesh import Service, Snapshot
from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh.topology import provision
from jetmesh.topology.streams import topology
from tests.support.jobs import Asked, Failed, Finished, Work
from tests.support.versions import Urged, newer, older

JOBS = 60


async def applied(mesh: LocalMesh, *services: Service, prune: bool = False) -> None:
    """The topology of a version is applied."""
    connection = mesh.context.connection
    await provision.apply(connection, await provision.plan(connection, topology(services), prune=prune))


async def test_an_old_process_gives_back_what_a_widened_reaction_takes(mesh_of: MeshOf) -> None:
    """Old and new processes side by side, as in a rolling upgrade: every job is done, and there is no letter."""
    (jobs, work), (new_jobs, new_work) = older(), newer()
    mesh = await mesh_of(jobs, work)
    await applied(mesh, new_jobs, new_work)
    for number in range(JOBS):
        await mesh.outside(Urged(job_id=f"u-{number}") if number % 2 else Asked(job_id=f"u-{number}"))
    for number in range(0, JOBS, 2):
        await mesh.recorded(Finished, f"u-{number}")
    await mesh.start(new_jobs)
    await mesh.start(new_work)
    for number in range(1, JOBS, 2):
        await mesh.recorded(Finished, f"u-{number}", within_seconds=30)
    await mesh.settled()
    assert await mesh.dead_letters() == []


async def test_a_rolled_back_version_starts_and_leaves_the_rest_to_the_next_upgrade(mesh_of: MeshOf) -> None:
    """Only old processes are left, started on what the newer version applied; no attempt is used up."""
    (jobs, work), (new_jobs, new_work) = older(), newer()
    mesh = await mesh_of(new_jobs, new_work, start=False)
    await mesh.record(Urged(job_id="j-1"))
    await applied(mesh, jobs, work)
    old = [await mesh.start(jobs), await mesh.start(work)]
    await mesh.record(Asked(job_id="j-2"))
    await mesh.recorded(Finished, "j-2")

    async def is_delayed() -> bool:
        info = await api.request(mesh.context.connection, "CONSUMER.INFO.JOBS.work-finish", strict=True)
        return await mesh.count("WORK_TIMERS") > 0 and info["num_ack_pending"] == 0

    await mesh.until(is_delayed, what="j-1 is delayed, and acknowledged")
    for replica in old:
        mesh.replicas.remove(replica)
        await replica.stop()
    await mesh.start(new_work)
    await mesh.recorded(Finished, "j-1", within_seconds=30)
    assert await mesh.dead_letters() == []


async def test_what_no_version_comes_for_is_a_letter_at_last(mesh_of: MeshOf) -> None:
    (jobs, work), (new_jobs, new_work) = older(), newer()
    mesh = await mesh_of(new_jobs, new_work, start=False, JETMESH_UNKNOWN_SECONDS="3")
    await mesh.start(jobs)
    await mesh.start(work)
    await mesh.record(Urged(job_id="j-1"))
    await mesh.outside(Urged(job_id="j-2"))
    letters = await mesh.dead_letters(2, within_seconds=30)
    assert sorted(letter.headers["Jetmesh-Reason"] for letter in letters) == [
        "type: jobs knows no jobs.urged; it takes jobs.asked",
        "type: work knows no jobs.urged; it takes jobs.asked",
    ]


async def test_what_no_version_takes_is_a_letter_at_once(mesh_of: MeshOf) -> None:
    """A type from outside that nobody knows; and one of a filter that was taken away while it was on its way."""
    jobs, work = older()
    mesh = await mesh_of(jobs, work)
    await mesh.publish("jobs.praised", b"{}")
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Attempts"] == "1"


async def test_a_letter_of_an_unknown_type_is_replayed_to_whoever_knows_it(mesh_of: MeshOf) -> None:
    """The letter names the old version's first intake; the new one finds the right one by the type."""
    (jobs, _), (new_jobs, new_work) = older(), newer()
    mesh = await mesh_of(new_jobs, new_work, start=False, JETMESH_UNKNOWN_SECONDS="0")
    old = await mesh.start(jobs)
    await mesh.outside(Urged(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    mesh.replicas.remove(old)
    await old.stop()
    await mesh.start(new_jobs)
    await replay(mesh, letter.sequence)
    await mesh.recorded(Urged, "j-1")


async def replay(mesh: LocalMesh, sequence: int) -> None:
    """`jetmesh dlq replay`, as an operator runs it."""
    run = CliRunner(env={"NATS_URL": mesh.settings.nats_url})
    done = await asyncio.to_thread(run.invoke, commands, ["dlq", "replay", str(sequence)])
    assert done.exit_code == 0, done.output


async def test_what_another_version_made_of_a_delivery_is_not_decided_again(mesh_of: MeshOf) -> None:
    """The newer version's outcome is of a type that the older one does not know, and its acknowledgement was lost."""
    new_work, old_work = Service("work"), Service("work")

    @new_work.on
    async def finish(asked: Asked) -> Finished | Failed:
        """A job is asked for: find out that it can't be done."""
        return Failed(job_id=asked.job_id)

    async def succeed(asked: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=asked.job_id)

    succeed.__name__ = "finish"
    old_work.on(succeed)
    mesh = await mesh_of(new_work)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Failed, "j-1")
    await mesh.settled()
    await mesh.stop(new_work)
    await mesh.deliver_again(new_work)
    await mesh.start(old_work)
    await mesh.settled()
    assert await mesh.types("j-1") == {"jobs.asked", "work.failed"}


async def test_a_reaction_to_many_gives_back_what_it_does_not_know(mesh_of: MeshOf) -> None:
    old_work, new_work = Service("work"), Service("work")

    @old_work.on_many
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Jobs are asked for: do them."""
        await snapshot.stories(Work, Finished, [each.job_id for each in asked])
        return [Finished(job_id=each.job_id) for each in asked]

    async def finish_all(wanted: Sequence[Asked | Urged], snapshot: Snapshot) -> list[Finished]:
        """Jobs are asked for: do them."""
        await snapshot.stories(Work, Finished, [each.job_id for each in wanted])
        return [Finished(job_id=each.job_id) for each in wanted]

    finish_all.__name__ = "finish"
    new_work.on_many(finish_all)
    mesh = await mesh_of(old_work)
    await applied(mesh, new_work)
    await mesh.record(Urged(job_id="u-1"))
    await mesh.record(Asked(job_id="a-1"))
    await mesh.recorded(Finished, "a-1")
    await mesh.start(new_work)
    await mesh.recorded(Finished, "u-1", within_seconds=30)
    assert await mesh.dead_letters() == []
