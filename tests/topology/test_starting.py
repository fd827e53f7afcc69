"""A new durable on a live mesh is a decision; a renamed reaction goes on; what nobody declares is shown and removed."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh import NotYet, Permanent, Retry, Service
from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.operate.overview import look
from jetmesh.since import Since
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.topology import provision
from jetmesh.topology.orphans import orphans
from jetmesh.topology.provision import Change, Drift, Step
from jetmesh.topology.starting import Starts
from jetmesh.topology.streams import topology
from tests.support.jobs import Asked, Finished, desk, finishing, work

PAST = 5_000


def writing(mails: list[str], since: Since | None = None) -> Service:
    """A service that writes a mail for each job, and records nothing of it."""
    post = Service("post")

    @post.on(since=since)
    async def send(asked: Asked) -> None:
        """Somebody wants a job done: write to them."""
        mails.append(asked.job_id)

    return post


async def planned(mesh: LocalMesh, *services: Service, prune: bool = False, **said: Since) -> list[Step]:
    """What a plan for these services would do, without what is as it should be."""
    starts = Starts({name.replace("_", "."): when for name, when in said.items()})
    steps = await provision.plan(mesh.context.connection, topology(services), prune=prune, starts=starts)
    return [step for step in steps if step.change is not Change.KEEP]


async def applied(mesh: LocalMesh, *services: Service, prune: bool = False, **said: Since) -> None:
    await provision.apply(mesh.context.connection, await planned(mesh, *services, prune=prune, **said))


async def asked(mesh: LocalMesh, *names: str) -> None:
    for name in names:
        await mesh.record(Asked(job_id=name))


async def state_of(mesh: LocalMesh, place: str) -> Any:
    return await api.request(mesh.context.connection, f"CONSUMER.INFO.{place}")


async def test_a_new_reaction_sends_none_of_5000_mails_unless_somebody_says_so(mesh_of: MeshOf) -> None:
    mails: list[str] = []
    mesh = await mesh_of(desk(), start=False)
    await asyncio.gather(*(asked(mesh, f"old-{number}") for number in range(PAST)))
    post = writing(mails)
    (step,) = [each for each in await planned(mesh, desk(), post) if each.name == "JOBS/post-send"]
    year = datetime.now(UTC).year
    assert step.change is Change.DECIDE
    assert step.reason.startswith(f"it would read 5,000 past events, the first of {year}-"), step.reason
    assert step.reason.endswith(
        "declare `since=` at post.send, or say `--since post.send=now` (or beginning, or a time)"
    )
    with pytest.raises(Drift, match=r"^decide consumer JOBS/post-send: it would read 5,000 past events"):
        await applied(mesh, desk(), post)
    assert await state_of(mesh, "JOBS.post-send") is None
    await applied(mesh, desk(), post, post_send="now")
    await mesh.start(post)
    await asked(mesh, "new-1")
    await mesh.until(lambda: mails)
    await mesh.settled()
    assert mails == ["new-1"]


async def test_the_declaration_says_which_past_events_a_reaction_reads(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(desk(), start=False)
    await asked(mesh, "j-1")
    before = datetime.now(UTC)
    await asked(mesh, "j-2", "j-3")
    found: dict[str, list[str]] = {}
    for name, since in {"none": "now", "all": "beginning", "some": before}.items():
        mails = found[name] = []
        post = writing(mails, since)  # type: ignore[arg-type]
        (step,) = [each for each in await planned(mesh, desk(), post) if each.name == "JOBS/post-send"]
        reads = {"none": "none", "all": "3", "some": "2"}[name]
        assert (step.change, step.reason) == (Change.CREATE, f"it reads {reads} of 3 past events")
        await applied(mesh, desk(), post)
        replica = await mesh.start(post)
        await mesh.until(partial(_settled, mesh, "JOBS.post-send"))
        mesh.replicas.remove(replica)
        await replica.stop()
        await api.request(mesh.context.connection, "CONSUMER.DELETE.JOBS.post-send", strict=True)
    assert {name: sorted(mails) for name, mails in found.items()} == {
        "none": [], "all": ["j-1", "j-2", "j-3"], "some": ["j-2", "j-3"]
    }  # fmt: skip


async def test_where_there_is_no_past_nothing_need_be_said(mesh_of: MeshOf) -> None:
    mails: list[str] = []
    post = writing(mails)
    mesh = await mesh_of(desk(), start=False)
    await applied(mesh, desk(), post)
    await asked(mesh, "j-1")
    await mesh.start(post)
    await mesh.until(lambda: mails == ["j-1"])
    assert await planned(mesh, desk(), post) == []


def _run(url: str, *arguments: str) -> Any:
    environment = {"NATS_URL": url, "JETMESH_APP": "tests.support.jobs:SERVICES"}
    return CliRunner(env=environment).invoke(commands, ["topology", *arguments])


async def test_the_commands_ask_and_take_an_answer(mesh_of: MeshOf, broker: Broker) -> None:
    mesh = await mesh_of(desk(), start=False)
    await asked(mesh, "j-1", "j-2")
    shown = await asyncio.to_thread(_run, broker.url, "plan")
    assert "decide consumer JOBS/work-finish: it would read 2 past events, the first of 20" in shown.output
    assert shown.exit_code == 1
    refused = await asyncio.to_thread(_run, broker.url, "apply")
    assert refused.exit_code == 3
    assert "say `--since work.finish=now`" in refused.output
    for wrong, words in {
        "mork=now": "no reaction 'mork'; there are jobs, jobs.take, work, work.finish",
        "work=yesterday": '\'work=yesterday\': write work= and "now", "beginning" or a time with its zone',
        "work=2026-01-01": "'work=2026-01-01': write work= and",
    }.items():
        said = await asyncio.to_thread(_run, broker.url, "apply", "--since", wrong)
        assert (said.exit_code, words in " ".join(said.output.replace("│", " ").split())) == (2, True), said.output
    made = await asyncio.to_thread(_run, broker.url, "apply", "--since", "work=2026-01-01T00:00:00Z")
    assert "create consumer JOBS/work-finish: it reads 2 of 2 past events" in made.output
    assert made.exit_code == 0
    assert (await asyncio.to_thread(_run, broker.url, "plan")).exit_code == 0


def completing(done: list[str], formerly: str = "finish") -> Service:
    """The service `work`, whose reaction is called `complete` now."""
    service = work()

    @service.on(formerly=formerly)
    async def complete(asked: Asked) -> None:
        """Somebody wants a job done: do it."""
        done.append(asked.job_id)

    return service


def doing(done: list[str], broken: set[str]) -> Service:
    """The version before, whose reaction is called `finish`."""
    service = work()

    @service.on
    async def finish(asked: Asked) -> None:
        """Somebody wants a job done: do it."""
        if asked.job_id in broken:
            raise Permanent("it can't be done yet")
        done.append(asked.job_id)

    return service


async def test_a_renamed_reaction_goes_on_where_it_was_and_repeats_nothing(mesh_of: MeshOf) -> None:
    """While a process of the version before still runs; and its version comes back, and goes again."""
    done: list[str] = []
    old, new = doing(done, set()), completing(done)
    mesh = await mesh_of(desk(), old)
    await asked(mesh, *(f"j-{number}" for number in range(50)))
    await mesh.settled()
    for service in (new, old, new):
        (step,) = await planned(mesh, desk(), service)
        other = {"finish": "complete", "complete": "finish"}[service.reactions[0].name]
        assert f"it goes on for work-{other}" in step.reason
        await applied(mesh, desk(), service)
        await asked(mesh, f"{service.reactions[0].name}-{len(done)}")
        await mesh.start(service)
        name = service.reactions[0].name
        await mesh.until(partial(_settled, mesh, f"JOBS.work-{name}"))
    assert len(done) == len(set(done)) == 53


async def _settled(mesh: LocalMesh, place: str) -> bool:
    info = await state_of(mesh, place)
    return not info["num_pending"] and not info["num_ack_pending"]


async def test_what_is_under_way_at_a_renaming_is_delivered_to_the_new_name(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of the version before is busy with the first, and has settled those behind it."""
    monkeypatch.setattr("jetmesh.topology.starting.REST_SECONDS", 0.2)
    done: list[str] = []
    free = asyncio.Event()
    old = work()

    @old.on
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        if asked.job_id == "j-1":
            await free.wait()
        done.append(asked.job_id)
        return Finished(job_id=asked.job_id)

    new = work()

    @new.on(formerly="finish")
    async def complete(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        done.append(asked.job_id)
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(desk(), old)
    await asked(mesh, "j-1", "j-2", "j-3")
    await mesh.until(lambda: sorted(done) == ["j-2", "j-3"])
    await applied(mesh, desk(), new)
    await mesh.start(new)
    await mesh.recorded(Finished, "j-1")
    await mesh.until(partial(_settled, mesh, "JOBS.work-complete"))
    free.set()
    await mesh.until(partial(_settled, mesh, "JOBS.work-finish"))
    assert await mesh.count("WORK") == 3
    assert await mesh.dead_letters() == []


async def _is(mesh: LocalMesh, place: str, **fields: int) -> bool:
    info = await state_of(mesh, place)
    return all(info[name] == value for name, value in fields.items())


async def test_letters_and_delayed_deliveries_of_the_former_name_find_the_new_one(mesh_of: MeshOf) -> None:
    done: list[str] = []
    broken = {"j-1"}
    old, new = doing(done, broken), completing(done)
    mesh = await mesh_of(desk(), old)
    await asked(mesh, "j-1")
    (letter,) = await mesh.dead_letters(1)
    await mesh.stop(old)
    await applied(mesh, desk(), new)
    await applied(mesh, desk(), new, prune=True)
    assert await state_of(mesh, "JOBS.work-finish") is None
    await mesh.start(new)
    run = CliRunner(env={"NATS_URL": mesh.settings.nats_url})
    replayed = await asyncio.to_thread(run.invoke, commands, ["dlq", "replay", str(letter.sequence)])
    assert replayed.exit_code == 0, replayed.output
    await mesh.until(lambda: done == ["j-1"])
    assert await mesh.dead_letters() == []


async def test_what_is_delayed_for_the_former_name_comes_to_the_new_one(mesh_of: MeshOf) -> None:
    done: list[str] = []
    old, new = work(), completing(done)

    @old.on(retry=Retry(first_seconds=3.0, longest_seconds=4.0))
    async def finish(asked: Asked) -> None:
        """Somebody wants a job done: not yet."""
        raise NotYet("it rests")

    mesh = await mesh_of(desk(), old)
    await asked(mesh, "j-1")

    async def is_delayed() -> bool:
        waits = await mesh.count("WORK_TIMERS") > 0
        return waits and await _is(mesh, "JOBS.work-finish", num_ack_pending=0, num_pending=0)

    await mesh.until(is_delayed)
    await mesh.stop(old)
    await applied(mesh, desk(), new)
    await mesh.start(new)
    await mesh.until(lambda: done == ["j-1"])


async def test_orphans_are_shown_and_removed_when_nobody_pulls_them(mesh_of: MeshOf) -> None:
    done: list[str] = []
    old, bare = doing(done, set()), finishing()
    bare.reactions[0]
    mesh = await mesh_of(desk(), old)
    other = writing([])
    await applied(mesh, desk(), old, other)
    renamed = completing(done)
    await applied(mesh, desk(), renamed)
    kept = [step for step in await provision.plan(mesh.context.connection, topology([desk(), renamed])) if step.kept]
    assert [step.name for step in kept] == ["JOBS/work-finish"]
    assert "work-complete goes on with its work" in kept[0].kept[0]
    assert "a client pulls it" in kept[0].kept[0]
    await applied(mesh, desk(), renamed, prune=True)
    assert await state_of(mesh, "JOBS.work-finish"), "a process pulls it"
    assert await state_of(mesh, "JOBS.post-send"), "it is of a service that is not in this app"
    await mesh.stop(old)
    await mesh.until(lambda: _is(mesh, "JOBS.work-finish", num_waiting=0))
    overview = await look(mesh.context.connection, [desk(), renamed])
    assert [orphan.partition(":")[0] for orphan in overview.orphans] == ["JOBS/work-finish"]
    (step,) = await planned(mesh, desk(), renamed, prune=True)
    assert str(step).startswith("remove consumer JOBS/work-finish: no reaction declares it; 0 wait")
    await applied(mesh, desk(), renamed, prune=True)
    assert await orphans(mesh.context.connection, topology([desk(), renamed])) == []


async def test_a_time_ago_that_all_events_follow_reads_all(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(desk(), start=False)
    await asked(mesh, "j-1")
    post = writing([], datetime.now(UTC) - timedelta(days=1))
    (step,) = [each for each in await planned(mesh, desk(), post) if each.name == "JOBS/post-send"]
    assert step.reason == "it reads 1 of 1 past events"


def test_ids_of_outcomes_stay_when_a_reaction_is_renamed() -> None:
    (reaction,) = completing([]).reactions
    assert (reaction.durable, reaction.identity) == ("work-complete", "work-finish")
    assert finishing().reactions[0].identity == "work-finish"
    assert Finished.type == "work.finished"
