"""A story is read whole or not at all, and what is recorded about it goes on in the trace of its cause."""

import asyncio
from collections.abc import Sequence

import pytest

from jetmesh import Service, Unavailable
from jetmesh.jetstream.direct_get import ANSWERS_MAX, EACH, DirectGet, Stored, last_sequence
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.jobs import Asked, Failed, Finished, Noted, Work, work

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    """A service that finishes every job, and notes what was finished before."""
    service = work()

    @service.on
    async def finish(asked: Asked, story: Work) -> Finished | Failed | Noted:
        """Somebody wants a job done: do it, unless it is done."""
        return Noted(job_id=asked.job_id) if story.finished else Finished(job_id=asked.job_id)

    return await mesh_of(service)


async def test_the_newest_message_of_every_subject_is_the_story_oldest_first(mesh: LocalMesh) -> None:
    for event in (Finished(job_id="j-1"), Failed(job_id="j-1"), Noted(job_id="j-2"), Finished(job_id="j-1")):
        await mesh.record(event)
    story = await mesh.context.direct_get.last("WORK", ["work.*.j-1"])
    assert [(stored.type, stored.sequence) for stored in story] == [("work.failed", 2), ("work.finished", 4)]
    assert last_sequence(story) == 4


async def test_a_key_without_a_story_has_none(mesh: LocalMesh) -> None:
    assert await mesh.context.direct_get.last("WORK", ["work.*.j-9"]) == []
    assert last_sequence([]) == 0


async def test_more_keys_than_one_reading_takes_are_read_in_parts(mesh: LocalMesh) -> None:
    keys = [f"j-{number}" for number in range(2 * ANSWERS_MAX // EACH + 10)]
    await asyncio.gather(*(mesh.record(Finished(job_id=key)) for key in keys))
    story = await mesh.context.direct_get.last("WORK", [f"work.*.{key}" for key in keys])
    assert {stored.key for stored in story} == set(keys)


async def test_a_reading_that_is_cut_off_is_unavailable_and_no_empty_story(mesh: LocalMesh, broker: Broker) -> None:
    broker.kill()
    await mesh.until(lambda: mesh.context.connection.trouble)
    with pytest.raises(Unavailable):
        await mesh.context.direct_get.last("WORK", ["work.*.j-1"])
    broker.start()


async def test_a_decision_sees_what_its_own_service_recorded(mesh: LocalMesh) -> None:
    await mesh.record(Finished(job_id="j-1"))
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Noted, "j-1")


async def test_a_story_is_remembered_until_it_ends(mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process recorded need not be read back; of what is over nothing is kept in mind."""
    service = Service("work")
    read: list[str] = []
    last = DirectGet.last

    async def watched(reader: DirectGet, stream: str, subjects: Sequence[str]) -> list[Stored]:
        read.extend(subject for subject in subjects if subject == "work.*.j-1")
        return await last(reader, stream, subjects)

    @service.on
    async def finish(asked: Asked, story: Work) -> Finished | Noted | None:
        """Somebody wants a job done: do it with the second effort."""
        if story.finished:
            return None
        return Noted(job_id=asked.job_id) if asked.effort == 1 else Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    monkeypatch.setattr(DirectGet, "last", watched)
    readings = []
    for effort in (1, 2, 3):
        await mesh.record(Asked(job_id="j-1", effort=effort))
        await mesh.settled()
        readings.append(len(read))
    assert readings == [1, 1, 2]


async def test_a_process_that_traces_nothing_passes_the_trace_on(mesh: LocalMesh) -> None:
    await mesh.publish("jobs.asked.j-1", Asked(job_id="j-1").model_dump_json(), {"traceparent": TRACE})
    await mesh.recorded(Finished, "j-1")
    (finished,) = await mesh.context.direct_get.last("WORK", ["work.finished.j-1"])
    assert finished.headers["traceparent"] == TRACE
    await mesh.publish("jobs.asked.j-2", Asked(job_id="j-2").model_dump_json())
    await mesh.recorded(Finished, "j-2")
    (finished,) = await mesh.context.direct_get.last("WORK", ["work.finished.j-2"])
    assert "traceparent" not in finished.headers


async def test_a_body_about_another_key_than_its_subject_is_buried(mesh: LocalMesh) -> None:
    await mesh.publish("jobs.asked.j-1", Asked(job_id="j-2").model_dump_json())
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"] == "job_id: j-2 is not the key of the subject, j-1"
    assert await mesh.count("WORK") == 0
