"""The urgent types of a reaction have an express durable beside the ordinary one: they go first, and are handled once,
also while the durable is added and taken away under a backlog, with old and new processes at once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jetmesh import EventModel, Fold, Permanent, Rate, Retry, Service, Tick, Token, Unavailable
from jetmesh.app import load
from jetmesh.jetstream import api
from jetmesh.operate.overview import look, waiting
from jetmesh.operate.pausing import durables_of
from jetmesh.reaction import DeclarationError
from jetmesh.since import Since
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh.topology import provision, starting
from jetmesh.topology.difference import filters_of
from jetmesh.topology.provision import Change, Step
from jetmesh.topology.starting import Starts
from jetmesh.topology.streams import topology
from tests.support.jobs import Asked, Dropped, Finished, Noted, desk, work

ORDINARY, EXPRESS = "JOBS.work-handle", "JOBS.work-handle-express"
SLOW_SECONDS = 0.02
CLASH: Sequence[Service] = ()

Job = Asked | Dropped


class Handled(Counter[str]):
    """How often each job was handled; a `busy` one waits until the others let it."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.go_on = set[str](), asyncio.Event()

    async def __call__(self, job: Job) -> Finished | Noted:
        """Handle a job."""
        self[job.job_id] += 1
        if job.job_id in self.busy:
            await self.go_on.wait()
        await asyncio.sleep(SLOW_SECONDS)
        return Finished(job_id=job.job_id) if isinstance(job, Asked) else Noted(job_id=job.job_id)


def handling(handled: Callable[[Job], Any], *urgent: type[Job], **options: Any) -> Service:
    """A service with one reaction to both types."""
    service = work()

    async def handle(job: Asked | Dropped) -> Finished | Noted:
        """Something is said about a job: do it, or note it."""
        result: Finished | Noted = await handled(job)
        return result

    service.on(**options, **({"urgent": urgent} if urgent else {}))(handle)  # type: ignore[call-overload]
    return service


async def planned(mesh: LocalMesh, service: Service, *, prune: bool = False, unsaid: Since = "beginning") -> list[Step]:
    wanted, starts = topology([service]), Starts(unsaid=unsaid)
    return await provision.plan(mesh.context.connection, wanted, starts=starts, prune=prune)


async def applied(mesh: LocalMesh, service: Service, **how: Any) -> None:
    """`jetmesh topology apply`, as a release of this version does it."""
    await provision.apply(mesh.context.connection, await planned(mesh, service, **how))


async def info_of(mesh: LocalMesh, place: str) -> Any:
    return await api.request(mesh.context.connection, f"CONSUMER.INFO.{place}")


async def say(mesh: LocalMesh, numbers: range) -> None:
    """Jobs are asked for, and every tenth one is dropped."""
    for number in numbers:
        await mesh.record(Asked(job_id=f"j-{number}") if number % 10 else Dropped(job_id=f"j-{number}"))


async def test_an_urgent_event_is_handled_once_although_two_durables_have_it(mesh_of: MeshOf) -> None:
    handled = Handled()
    mesh = await mesh_of(handling(handled, Dropped))
    await say(mesh, range(60))
    await mesh.settled()
    assert handled == {f"j-{number}": 1 for number in range(60)}
    assert await mesh.count("WORK") == 60


async def test_its_copy_waits_while_it_is_under_way_and_holds_up_nobody(mesh_of: MeshOf) -> None:
    """Copies wait in half of the slots at most: the others come again later."""
    handled = Handled()
    handled.busy = {f"u-{number}" for number in range(4)}
    mesh = await mesh_of(handling(handled, Dropped), JETMESH_SLOTS="4")
    for key in sorted(handled.busy):
        await mesh.record(Dropped(job_id=key))
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    assert (await info_of(mesh, ORDINARY))["num_ack_pending"] >= 4
    assert handled == {**dict.fromkeys(handled.busy, 1), "j-1": 1}
    handled.go_on.set()
    await mesh.settled()
    assert set(handled.values()) == {1}


async def test_a_durable_is_added_and_taken_away_under_a_backlog(mesh_of: MeshOf) -> None:
    """Processes of both versions at once, each time; a job that can't be handled has one dead letter."""
    handled = Handled()

    async def handle(job: Job) -> Finished | Noted:
        if job.job_id == "j-190":
            raise Permanent("nobody can do this")
        return await handled(job)

    plain, express = handling(handle), handling(handle, Dropped)
    mesh = await mesh_of(plain, start=False, JETMESH_SLOTS="4")
    await say(mesh, range(200))
    await mesh.start(plain)
    await mesh.until(lambda: len(handled) > 10)
    await applied(mesh, express)
    await mesh.start(express)
    await say(mesh, range(200, 250))
    await mesh.recorded(Noted, "j-240")
    assert len(handled) < 200, "the urgent ones went first"
    await mesh.stop(plain)
    await mesh.start(plain)
    await mesh.stop(express)
    await say(mesh, range(250, 280))
    await mesh.until(lambda: taken_away(mesh, plain))
    await mesh.settled(60)
    assert await mesh.count("WORK") == 279
    assert handled.keys() == {f"j-{number}" for number in range(280)} - {"j-190"}
    assert len(await mesh.dead_letters(1)) == 1
    assert all(int(key[2:]) % 10 == 0 for key, times in handled.items() if times > 1)


async def taken_away(mesh: LocalMesh, service: Service) -> bool:
    """Whether the express durable is gone: it goes once nobody pulls it."""
    await applied(mesh, service, prune=True)
    return await info_of(mesh, EXPRESS) is None


async def test_it_begins_where_the_ordinary_one_has_come_to(mesh_of: MeshOf) -> None:
    handled = Handled()
    plain, express = handling(handled), handling(handled, Dropped)
    mesh = await mesh_of(plain)
    await say(mesh, range(20))
    await mesh.settled()
    await mesh.stop(plain)
    await say(mesh, range(20, 40))
    (step,) = [each for each in await planned(mesh, express) if each.name.endswith("express")]
    assert str(step) == "create consumer JOBS/work-handle-express: it begins where work-handle has come to"
    await applied(mesh, express)
    assert (await info_of(mesh, EXPRESS))["config"]["opt_start_seq"] == 21
    await mesh.start(express)
    await mesh.recorded(Finished, "j-39")
    await mesh.settled()
    assert handled == {f"j-{number}": 1 for number in range(40)}


async def test_a_new_reaction_reads_nothing_that_it_was_not_to_read(mesh_of: MeshOf) -> None:
    handled = Handled()
    mesh = await mesh_of(desk(), start=False)
    await say(mesh, range(20))
    express = handling(handled, Dropped, since="now")
    await applied(mesh, express)
    await mesh.start(express)
    await say(mesh, range(20, 31))
    await mesh.recorded(Noted, "j-30")
    assert handled == {f"j-{number}": 1 for number in range(20, 31)}


async def test_with_other_types_it_is_made_anew(mesh_of: MeshOf) -> None:
    """A durable whose filter is changed has passed over what lies behind it."""
    handled = Handled()
    before, after = handling(handled, Dropped), handling(handled, Asked)
    mesh = await mesh_of(before)
    await say(mesh, range(15))
    await mesh.settled()
    await mesh.stop(before)
    await say(mesh, range(15, 31))
    (step,) = [each for each in await planned(mesh, after) if each.change is Change.UPDATE]
    assert step.name == "JOBS/work-handle-express"
    await applied(mesh, after)
    config = (await info_of(mesh, EXPRESS))["config"]
    assert (filters_of(config), config["opt_start_seq"]) == (["jobs.asked.*"], 16)
    assert all(each.change is Change.KEEP for each in await planned(mesh, after))
    await mesh.start(after)
    await mesh.recorded(Noted, "j-30")
    await mesh.recorded(Finished, "j-29")
    await mesh.settled()
    assert handled == {f"j-{number}": 1 for number in range(31)}


async def test_one_that_somebody_edited_is_not_believed(mesh_of: MeshOf) -> None:
    handled = Handled()
    mesh = await mesh_of(handling(handled, Dropped))
    config = {**(await info_of(mesh, EXPRESS))["config"], "filter_subjects": ["jobs.none.*"]}
    config.pop("filter_subject", None)
    body = {"stream_name": "JOBS", "config": config}
    await api.request(mesh.context.connection, f"CONSUMER.CREATE.{EXPRESS}", body, strict=True)
    await mesh.record(Dropped(job_id="u-1"))
    await mesh.recorded(Noted, "u-1")
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    await mesh.apply()
    assert (await info_of(mesh, EXPRESS))["config"]["opt_start_seq"] > 1
    await mesh.record(Dropped(job_id="u-2"))
    await mesh.settled()
    assert handled == {"u-1": 1, "j-1": 1, "u-2": 1}


async def test_what_is_put_off_and_what_is_given_up_is_there_once(mesh_of: MeshOf) -> None:
    """The express durable has acknowledged it then, and the copy is settled."""
    attempts = Counter[str]()

    async def handle(job: Job) -> Finished | Noted:
        attempts[job.job_id] += 1
        if job.job_id == "bad":
            raise ValueError("nobody can do this")
        if attempts[job.job_id] == 1:
            raise Unavailable("not now", 2.5)
        return Noted(job_id=job.job_id)

    mesh = await mesh_of(handling(handle, Dropped, retry=Retry(attempts=2, first_seconds=0.01)))
    await mesh.record(Dropped(job_id="late"))
    await mesh.record(Dropped(job_id="bad"))
    await mesh.recorded(Noted, "late")
    await mesh.dead_letters(1)
    await mesh.settled()
    assert attempts == {"late": 2, "bad": 2}
    assert len(await mesh.dead_letters(1)) == 1
    assert await mesh.count("WORK") == 1


async def test_an_urgent_one_is_the_first_of_those_that_wait_for_the_limit(mesh_of: MeshOf) -> None:
    order: list[str] = []

    async def handle(job: Job) -> Finished | Noted:
        order.append(job.job_id)
        return Noted(job_id=job.job_id)

    mesh = await mesh_of(handling(handle, Dropped, limit=Rate(10, per_seconds=1, burst=1)), start=False)
    for number in range(30):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.record(Dropped(job_id="urgent"))
    (service,) = mesh.services
    await mesh.start(service)
    await mesh.until(lambda: "urgent" in order)
    assert order.index("urgent") < 15


async def test_operators_see_it_count_it_once_and_pause_both(mesh_of: MeshOf) -> None:
    service = handling(Handled(), Dropped)
    mesh = await mesh_of(service, start=False)
    await say(mesh, range(20))
    rows = (await look(mesh.context.connection, [service])).rows
    assert {row.name: row.lag.pending for row in rows} == {"handle": 20, "(handle express)": 2, "(due)": 0}
    assert waiting(rows) == 20
    assert [each.durable for each in durables_of("work.handle", [service], mesh.topology.consumers)] == [
        "work-handle", "work-handle-express",
    ]  # fmt: skip


async def test_a_restored_durable_goes_on_where_it_was(mesh_of: MeshOf) -> None:
    service = handling(Handled(), Dropped)
    mesh = await mesh_of(service, start=False)
    (consumer,) = [each for each in mesh.topology.consumers if each.durable.endswith("express")]
    floors = Starts(floors={"JOBS/work-handle-express": 7})
    begins = await starting.start(mesh.context.connection, consumer, floors)
    assert begins.config == {"deliver_policy": "by_start_sequence", "opt_start_seq": 8}


class Rung(EventModel, type="bells.rung", owner="bells", key_field="bell_id", from_outside=True):
    """Somebody rang."""

    bell_id: Token


async def both(job: Asked | Dropped) -> Finished: ...  # type: ignore[empty-body]
async def many(jobs: list[Asked | Dropped]) -> list[Finished]: ...  # type: ignore[empty-body]
async def tick(tick: Tick) -> Noted: ...  # type: ignore[empty-body]
async def silent(job: Asked | Dropped) -> None: ...
async def perhaps(job: Asked | Dropped) -> Finished | None: ...
async def folded(job: Asked | Dropped, story: Fold) -> Finished | None: ...


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: work().on(urgent="Dropped")(both), "urgent='Dropped'; name the types of events"),  # type: ignore[arg-type]
        (lambda: work().on(urgent=())(both), "declares urgent=(); name the types"),
        (lambda: work().on(urgent=Finished)(both), "urgent=Finished, and takes Asked or Dropped; name types that"),
        (lambda: work().on(urgent=(Asked, Dropped))(both), "which is all that it takes; leave `urgent` out"),
        (lambda: work().on(urgent=Dropped)(silent), "may record nothing, so that nothing tells whether it was done"),
        (lambda: work().on(urgent=Dropped)(perhaps), "return an event for each, or decide by the story"),
        (lambda: work().on(urgent=Dropped, in_order=True)(both), "and keeps the order (in_order=True); leave one"),
        (lambda: work().on(urgent=Dropped, concurrency=3)(both), "counts what one durable has in flight (concurrenc"),
        (lambda: work().on_many(urgent=Dropped)(many), "decides many deliveries at once; leave `urgent` out"),
        (lambda: work().after(minutes=1, urgent=Dropped)(both), "waits for a time; leave `urgent` out"),
        (lambda: work().every("0 9 * * *", urgent=Dropped)(tick), "is handed out by the clock; leave `urgent` out"),
        (lambda: work().at("due", urgent=Dropped)(both), "is due when its events say; leave `urgent` out"),
        (lambda: work().intake(urgent=Dropped)(both), "shares its durable with other intakes; leave `urgent` out"),
    ],
    ids=["text", "empty", "strange", "all", "none", "perhaps", "order", "count", "many", "after", "tick", "at", "in"],
)  # fmt: skip
def test_what_can_have_none_is_refused_with_the_fix(declare: Callable[[], Any], words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        declare()
    assert words in str(error.value)
    assert str(error.value).startswith("work.")


def test_one_that_decides_by_its_story_may_record_nothing() -> None:
    service = work()
    service.on(urgent=Dropped)(folded)
    assert service.reactions[0].express == "work-folded-express"


def test_no_reaction_has_the_name_of_an_express_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Service("work-handle")

    @other.on
    async def express(rung: Rung) -> None:
        """Somebody rang."""

    monkeypatch.setattr(f"{__name__}.CLASH", (handling(Handled(), Dropped), other))
    with pytest.raises(DeclarationError, match=r"would share the durable work-handle-express; rename one of the fun"):
        load(f"{__name__}:CLASH")
