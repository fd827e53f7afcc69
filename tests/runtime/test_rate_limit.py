"""A reaction that declares a limit begins no more often, however many processes there are."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import pytest

from jetmesh import Deferred, Rate, Recorded, Retry, Service, Snapshot, Stored
from jetmesh.jetstream import api
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, Noted, Work, work

NUMBER = 60
RATE = Rate(20, per_seconds=1, burst=10)
ANSWERS_SECONDS = 0.5
"""How long an attempt may take on a machine that is busy: it is let in before its event is recorded."""


async def ask(mesh: LocalMesh, number: int = NUMBER) -> None:
    for one in range(number):
        await mesh.record(Asked(job_id=f"j-{one}"))


def seconds(stored: Stored) -> float:
    return datetime.fromisoformat(stored.time).timestamp()


async def times_of(mesh: LocalMesh, type_: str, number: int) -> list[float]:
    """The broker's times of all events of a type, once there are so many."""

    async def found() -> list[float]:
        page = await mesh.context.direct_get.page("WORK", f"{type_}.*", 1, 1_000)
        return [seconds(stored) for stored in page.messages]

    async def all_of_them() -> list[float]:
        times = await found()
        return times if len(times) >= number else []

    times: list[float] = await mesh.until(all_of_them, 60)
    return times


def assert_never_more(times: Sequence[float], began: float, rate: Rate) -> None:
    """From the start on strictly; between any two events with the time that an attempt takes."""
    per_second = rate.most / rate.per_seconds
    for index, at in enumerate(times):
        assert index + 1 <= rate.burst + per_second * (at - began)
        for first in range(index):
            assert index - first + 1 <= rate.burst + per_second * (at - times[first] + ANSWERS_SECONDS)


async def bundles(mesh: LocalMesh) -> int:
    """How often the state of the limits was written."""
    info = await api.request(mesh.context.connection, "STREAM.INFO.WORK_LIMITS", strict=True)
    assert info["state"]["messages"] == 1
    return int(info["state"]["last_seq"])


async def test_two_replicas_together_begin_no_more_than_the_limit(mesh_of: MeshOf) -> None:
    service = work()

    @service.on(limit=RATE)
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, not too often."""
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await mesh.start(service)
    began = mesh.context.connection.clock.now()
    await ask(mesh)
    times = await times_of(mesh, Finished.type, NUMBER)
    assert len(times) == NUMBER
    assert_never_more(times, began, RATE)
    assert await bundles(mesh) < NUMBER / 2


def of_many() -> Service:
    service = work()

    @service.on_many(limit=RATE)
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Jobs are asked for: do them together."""
        stories = await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        return [Finished(job_id=one.job_id) for one in asked if not stories[one.job_id].finished]

    return service


async def test_a_reaction_to_many_begins_no_more_than_the_limit(mesh_of: MeshOf) -> None:
    service = of_many()
    mesh = await mesh_of(service)
    await mesh.start(service)
    began = mesh.context.connection.clock.now()
    await ask(mesh)
    times = await times_of(mesh, Finished.type, NUMBER)
    assert len(times) == NUMBER
    assert_never_more(times, began, RATE)


async def test_a_sink_keeps_no_more_than_the_limit(mesh_of: MeshOf) -> None:
    service, kept = work(), list[float]()

    @service.on
    async def note(asked: Asked) -> Noted:
        """A job is asked for: note it."""
        return Noted(job_id=asked.job_id)

    @service.sink(limit=RATE)
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        kept.extend([mesh.context.connection.clock.now()] * len(events))

    mesh = await mesh_of(service)
    began = mesh.context.connection.clock.now()
    await ask(mesh, 40)
    await mesh.until(lambda: len(kept) >= 40)
    assert_never_more(kept, began, RATE)


async def test_a_pause_that_is_asked_for_holds_for_all_replicas_and_costs_no_attempt(mesh_of: MeshOf) -> None:
    """The partner answers 429 to each job that comes before its pause is over, and has two attempts for each."""
    service, pause = work(), 2.5
    refused, begun = list[float](), list[float]()

    @service.on(limit=Rate(50, burst=4), retry=Retry(attempts=2))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: ask the partner."""
        now = mesh.context.connection.clock.now()
        begun.append(now)
        if len(refused) < 3 and (not refused or asked.job_id == "j-0"):
            refused.append(now)
            raise Deferred("429 Too Many Requests", retry_after_seconds=pause if len(refused) == 1 else 0.2)
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await mesh.start(service)
    await mesh.record(Asked(job_id="j-0"))
    await mesh.until(lambda: refused)
    await mesh.until(lambda: mesh.context.direct_get.last("WORK_LIMITS", ["limits.work.finish"]))
    first = refused[0]
    await ask(mesh, 20)
    await times_of(mesh, Finished.type, 20)
    assert not [at for at in begun if first + 1.5 < at < first + pause], "a replica went on in the pause"
    assert len(begun) >= 20
    assert len(refused) == 3
    assert await mesh.dead_letters() == []


async def test_without_a_limit_a_delivery_comes_again_after_the_time_that_was_asked_for(mesh_of: MeshOf) -> None:
    service, begun = work(), list[float]()

    @service.on(retry=Retry(attempts=1))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: ask the partner, who says no three times."""
        begun.append(asyncio.get_running_loop().time())
        if len(begun) < 4:
            raise Deferred("429 Too Many Requests", retry_after_seconds=0.5)
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-0"))
    await mesh.recorded(Finished, "j-0")
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(begun))
    assert await mesh.dead_letters() == []


async def test_what_waits_for_its_limit_does_not_delay_a_stop_and_is_not_lost(mesh_of: MeshOf) -> None:
    service, begun = work(), list[str]()

    @service.on(limit=Rate(1, per_seconds=3_600))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, one an hour."""
        begun.append(asked.job_id)
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await ask(mesh, 5)
    await mesh.until(lambda: begun)
    await asyncio.wait_for(mesh.stop(service), 5)
    info = await api.request(mesh.context.connection, "CONSUMER.INFO.JOBS.work-finish", strict=True)
    delayed = await api.request(mesh.context.connection, "STREAM.INFO.WORK_TIMERS", strict=True)
    assert len(begun) == 1
    assert info["num_ack_pending"] + info["num_pending"] + delayed["state"]["messages"] == 4


async def test_what_comes_back_waits_in_no_slot_that_others_need(mesh_of: MeshOf) -> None:
    """Both reactions share the two slots of delayed redeliveries, and the limited one's come back first: it takes one
    delivery an hour."""
    service, noted = work(), list[str]()

    @service.on(limit=Rate(1, per_seconds=3_600, burst=2))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: the partner wants to be asked again."""
        raise Deferred("429 Too Many Requests", retry_after_seconds=2.5)

    @service.on(retry=Retry(attempts=1))
    async def note(asked: Asked) -> Noted:
        """A job is asked for: note it, the second time."""
        noted.append(asked.job_id)
        if noted.count(asked.job_id) == 1:
            raise Deferred("later", retry_after_seconds=4)
        return Noted(job_id=asked.job_id)

    mesh = await mesh_of(service, JETMESH_SLOTS="2")
    await ask(mesh, 2)
    assert len(await times_of(mesh, Noted.type, 2)) == 2


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Rate(0), r"most=0; write a whole number from 1 on"),
        (Rate(5, burst=0), r"burst=0; write a whole number from 1 on"),
        (Rate(5, per_seconds=0), r"per_seconds=0; write a number of seconds above 0"),
        (Rate(5, per_seconds=float("nan")), r"per_seconds=nan; write a number of seconds above 0"),
    ],
    ids=["most", "burst", "seconds", "not a number"],
)
def test_a_wrong_limit_names_function_and_fix(limit: Rate, words: str) -> None:
    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    with pytest.raises(TypeError, match=f"work.finish declares a limit with {words}"):
        work().on(limit=limit)(finish)


def test_a_limit_is_a_rate() -> None:
    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    with pytest.raises(TypeError, match=r"work.finish declares limit=100; write `limit=Rate\(100"):
        work().on(limit=100)(finish)  # type: ignore[call-overload]


def test_a_pause_is_a_number_of_seconds() -> None:
    with pytest.raises(TypeError, match="retry_after_seconds='30': give a number of seconds"):
        Deferred("429", retry_after_seconds="30")  # type: ignore[arg-type]
