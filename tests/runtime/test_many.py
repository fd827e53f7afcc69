"""Reactions to many: one reading, one commit, at most one delivery of a key, and a poisoned one is alone with it."""

import asyncio
from base64 import b64decode
from collections.abc import Sequence

import pytest

from jetmesh import NotYet, Permanent, Retry, Service, Snapshot
from jetmesh.jetstream.api import request
from jetmesh.jetstream.headers import decode_headers
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Dropped, Finished, Level, Noted, Work, work

Batches = list[list[str]]


@pytest.fixture
def tally() -> tuple[Service, Batches]:
    """A service that finishes jobs together and adds up their effort, and the batches it saw."""
    service, batches = work(), Batches()

    @service.on_many(retry=Retry(attempts=3, first_seconds=0.01))
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished | Level]:
        """Jobs are asked for: do them together."""
        batches.append([one.job_id for one in asked])
        if any(one.job_id == "poison" for one in asked):
            raise Permanent("a poisoned job")
        stories = await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        levels = await snapshot.latest(Level, ["all"])
        new = [one for one in asked if not stories[one.job_id].finished]
        if not new:
            return []
        spent = (levels["all"].spent if "all" in levels else 0) + sum(one.effort for one in new)
        return [*(Finished(job_id=one.job_id) for one in new), Level(name="all", spent=spent)]

    return service, batches


async def test_what_waits_is_decided_together_and_counted_once(mesh_of: MeshOf, tally: tuple[Service, Batches]) -> None:
    service, batches = tally
    mesh = await mesh_of(service, start=False)
    await asyncio.gather(*(mesh.record(Asked(job_id=f"j-{number % 50}")) for number in range(150)))
    await mesh.start(service)
    await mesh.start(service)
    await mesh.settled()
    level = await mesh.recorded(Level, "all")
    assert level.spent == 50
    assert all(len(set(batch)) == len(batch) for batch in batches)
    assert max(len(batch) for batch in batches) > 5


async def test_what_comes_again_gives_no_id_away_a_second_time(mesh_of: MeshOf, tally: tuple[Service, Batches]) -> None:
    """The levels of a commit are caused by what it tells about, also where a settled delivery stands behind it."""
    service, batches = tally
    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    await mesh.stop(service)
    for key in ("j-2", "j-1"):
        await mesh.record(Asked(job_id=key))
    await mesh.start(service)
    await mesh.settled()
    assert batches[-1] == ["j-2", "j-1"]
    assert await mesh.count("WORK") == 4
    assert len({await _id_at(mesh, sequence) for sequence in range(1, 5)}) == 4


async def _id_at(mesh: LocalMesh, sequence: int) -> str:
    """The id of the event that work recorded at a place."""
    found = await request(mesh.context.connection, "STREAM.MSG.GET.WORK", {"seq": sequence}, strict=True)
    return decode_headers(b64decode(found["message"]["hdrs"]))["ce-id"]


async def test_a_level_that_another_writer_changed_is_read_anew(
    mesh_of: MeshOf, tally: tuple[Service, Batches]
) -> None:
    service, batches = tally
    mesh = await mesh_of(service)
    for number, spent in ((1, 1), (2, 2)):
        await mesh.record(Asked(job_id=f"j-{number}"))
        await mesh.settled()
        assert (await mesh.recorded(Level, "all")).spent == spent
    await mesh.record(Level(name="all", spent=100))
    await mesh.record(Asked(job_id="j-3"))
    await mesh.settled()
    assert (await mesh.recorded(Level, "all")).spent == 101
    assert batches == [["j-1"], ["j-2"], ["j-3"], ["j-3"]]


async def test_a_decision_on_a_level_that_is_older_than_a_story_is_made_again(mesh_of: MeshOf) -> None:
    """Another replica has finished the job that, by the level which this one remembers, is the next."""
    service = work()

    @service.on_many
    async def finish_next(asked: Sequence[Asked], snapshot: Snapshot) -> list[Noted | Finished | Level]:
        """A job is asked for: finish the next one of those that wait."""
        await snapshot.stories(Work, Noted, [one.job_id for one in asked])
        levels = await snapshot.latest(Level, ["all"])
        number = levels["all"].spent if "all" in levels else 0
        await snapshot.stories(Work, Finished, [f"w-{number}"])
        return [
            Noted(job_id=asked[0].job_id), Finished(job_id=f"w-{number}"), Level(name="all", spent=number + 1)
        ]  # fmt: skip

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "w-0")
    await mesh.settled()
    await mesh.record(Finished(job_id="w-1"))
    await mesh.record(Level(name="all", spent=2))
    await mesh.record(Asked(job_id="j-2"))
    await mesh.recorded(Finished, "w-2")
    await mesh.settled()
    assert (await mesh.recorded(Level, "all")).spent == 3
    assert await mesh.dead_letters() == []


async def test_a_poisoned_delivery_is_found_and_the_others_go_on(
    mesh_of: MeshOf, tally: tuple[Service, Batches]
) -> None:
    service, _ = tally
    mesh = await mesh_of(service, start=False)
    for name in ("j-1", "j-2", "poison", "j-3"):
        await mesh.record(Asked(job_id=name))
    await mesh.publish("jobs.asked.j-4", b"no JSON")
    await mesh.start(service)
    letters = await mesh.dead_letters(2)
    await mesh.settled()
    assert {letter.headers["Jetmesh-Subject"] for letter in letters} == {"jobs.asked.poison", "jobs.asked.j-4"}
    assert (await mesh.recorded(Level, "all")).spent == 3


async def test_a_level_that_can_not_be_read_is_a_letter_that_says_where_it_stands(
    mesh_of: MeshOf, tally: tuple[Service, Batches]
) -> None:
    """Not for ever again: whoever may write to the stream has left something else in the level's place."""
    service, _ = tally
    mesh = await mesh_of(service)
    await mesh.publish("tally.level.all", b"{}")
    await mesh.record(Asked(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Attempts"] == "1"
    assert "tally.level.all, at 1: " in letter.headers["Jetmesh-Reason"]
    await mesh.settled()


async def test_what_was_decided_without_a_reading_or_a_level_is_refused(mesh_of: MeshOf) -> None:
    service = work()

    @service.on_many
    async def blind(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Reads the level but not the story, or does not record what it read."""
        await snapshot.latest(Level, ["all"])
        if asked[0].job_id == "j-2":
            await snapshot.stories(Work, Finished, ["j-2"])
        return [Finished(job_id=asked[0].job_id)]

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    assert "decided about j-1 without reading its story" in letter.headers["Jetmesh-Reason"]
    assert await mesh.count("WORK") == 0


async def test_a_batch_that_comes_too_early_comes_again(mesh_of: MeshOf) -> None:
    service, ran = work(), list[int]()

    @service.on_many(retry=Retry(first_seconds=0.01))
    async def patient(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Waits for its third attempt."""
        ran.append(len(asked))
        if len(ran) < 3:
            raise NotYet("not now")
        await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        return [Finished(job_id=one.job_id) for one in asked]

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    assert await mesh.dead_letters() == []


async def test_what_a_batch_records_about_another_key_belongs_to_the_trace_of_that_key(mesh_of: MeshOf) -> None:
    service = work()

    @service.on_many
    async def take_turns(arrived: Sequence[Asked | Dropped], snapshot: Snapshot) -> list[Noted | Finished]:
        """A job that is asked for waits; a job that is dropped lets the first one finish."""
        await snapshot.stories(Work, Finished, {"first", *(one.job_id for one in arrived)})
        return [
            Noted(job_id=one.job_id) if isinstance(one, Asked) else Finished(job_id="first") for one in arrived
        ]  # fmt: skip

    mesh = await mesh_of(service)
    traces = {name: f"00-{digit * 32}-{digit * 16}-01" for name, digit in (("asked", "1"), ("dropped", "2"))}
    await mesh.publish("jobs.asked.first", {"job_id": "first"}, {"traceparent": traces["asked"]})
    await mesh.recorded(Noted, "first")
    await mesh.publish("jobs.dropped.other", {"job_id": "other"}, {"traceparent": traces["dropped"]})
    await mesh.recorded(Finished, "first")
    (finished,) = [event for event in await mesh.story("first") if event.type == Finished.type]
    assert finished.headers["traceparent"].split("-")[1] == "1" * 32
    assert finished.headers["ce-correlationid"] == "first"
