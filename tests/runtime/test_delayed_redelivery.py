"""Deliveries that wait: deadlines, long pauses and attempts that are used up, none of them in a consumer's slot."""

import time

import pytest

from jetmesh import NotYet, Permanent, Retry, Unavailable
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Dropped, Failed, Finished, Work, work


async def test_a_deadline_comes_after_its_delay_counted_from_the_event(mesh_of: MeshOf) -> None:
    service = work()
    came: list[float] = []

    @service.after(minutes=15)
    async def time_out(asked: Asked, story: Work) -> Failed | None:
        """The time is up: it failed, unless it is finished."""
        came.append(time.time())
        return None if story.finished else Failed(job_id=asked.job_id)

    @service.begins
    async def finish(dropped: Dropped) -> Finished:
        """Nobody wants it any more: that is as good as done."""
        return Finished(job_id=dropped.job_id)

    mesh = await mesh_of(service, JETMESH_AFTER_WORK_TIME_OUT_SECONDS="0.8")
    began = time.time()
    await mesh.record(Asked(job_id="j-1"))
    await mesh.record(Asked(job_id="j-2"))
    await mesh.record(Dropped(job_id="j-2"))
    await mesh.recorded(Failed, "j-1")
    await mesh.until(lambda: len(came) == 2)
    await mesh.settled()
    assert min(came) - began >= 0.75
    assert await mesh.types("j-2") == {"jobs.asked", "jobs.dropped", "work.finished"}
    assert await mesh.count("WORK_TIMERS") == 0


async def test_a_long_pause_frees_the_slot_and_the_attempts_go_on_counting(mesh_of: MeshOf) -> None:
    service = work()
    attempts: list[str] = []

    @service.begins(retry=Retry(attempts=3))
    async def try_again(asked: Asked) -> Finished:
        """Depends on something that is down for a while."""
        attempts.append(asked.job_id)
        if asked.job_id == "j-1" and attempts.count("j-1") < 3:
            raise Unavailable("down", 2.2)
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service, JETMESH_SLOTS="1")
    await mesh.record(Asked(job_id="j-1"))
    await mesh.record(Asked(job_id="j-2"))
    await mesh.recorded(Finished, "j-2")
    assert attempts == ["j-1", "j-2"]
    await mesh.recorded(Finished, "j-1")
    await mesh.settled()
    assert attempts.count("j-1") == 3


@pytest.fixture
async def failing(mesh_of: MeshOf) -> tuple[LocalMesh, list[str]]:
    service, attempts = work(), list[str]()

    @service.begins(retry=Retry(attempts=3, first_seconds=0.05))
    async def fail(asked: Asked) -> Finished:
        """Fails, as often as the effort says."""
        attempts.append(asked.job_id)
        if attempts.count(asked.job_id) <= asked.effort:
            raise NotYet("not now") if asked.job_id == "later" else OSError("no luck")
        if asked.job_id == "never":
            raise Permanent("never")
        return Finished(job_id=asked.job_id)

    return await mesh_of(service), attempts


async def test_a_passing_failure_is_tried_again(failing: tuple[LocalMesh, list[str]]) -> None:
    mesh, attempts = failing
    await mesh.record(Asked(job_id="later", effort=2))
    await mesh.record(Asked(job_id="soon", effort=2))
    await mesh.recorded(Finished, "later")
    await mesh.recorded(Finished, "soon")
    assert (attempts.count("later"), attempts.count("soon")) == (3, 3)
    assert await mesh.dead_letters() == []


async def test_used_up_attempts_and_permanent_failures_end_in_the_dead_letters(
    failing: tuple[LocalMesh, list[str]],
) -> None:
    mesh, attempts = failing
    await mesh.record(Asked(job_id="often", effort=9))
    await mesh.record(Asked(job_id="never", effort=0))
    letters = {letter.headers["Jetmesh-Subject"]: letter for letter in await mesh.dead_letters(2)}
    await mesh.settled()
    assert (attempts.count("often"), attempts.count("never")) == (3, 1)
    often, never = letters["jobs.asked.often"].headers, letters["jobs.asked.never"].headers
    assert (often["Jetmesh-Error-Type"], often["Jetmesh-Reason"], often["Jetmesh-Attempts"]) == (
        "OSError",
        "no luck",
        "3",
    )
    assert (never["Jetmesh-Error-Type"], never["Jetmesh-Reason"], never["Jetmesh-Attempts"]) == (
        "Permanent",
        "never",
        "1",
    )


async def test_a_dead_letter_keeps_body_headers_and_trace(failing: tuple[LocalMesh, list[str]]) -> None:
    mesh, _ = failing
    data = b'{"job_id": "j-1",   "effort": "much"}\n'
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"traceparent": trace, "x-of-its-own": "stays", "Nats-Msg-Id": "goes"}
    sequence = await mesh.publish("jobs.asked.j-1", data, headers)
    (letter,) = await mesh.dead_letters(1)
    assert letter.data == data
    assert letter.subject.startswith(f"dead.work.fail.JOBS.{sequence}.")
    assert letter.headers["traceparent"] == trace
    assert letter.headers["x-of-its-own"] == "stays"
    assert letter.headers["Jetmesh-Reason"].startswith("effort: Input should be a valid integer")
    assert "much" not in letter.headers["Jetmesh-Reason"]


async def test_a_letter_is_written_once_however_often_the_delivery_comes(
    failing: tuple[LocalMesh, list[str]],
) -> None:
    mesh, _ = failing
    await mesh.publish("jobs.asked.j-1", b"no JSON")
    await mesh.dead_letters(1)
    await mesh.deliver_again(mesh.services[0])
    await mesh.settled()
    assert await mesh.count("DEAD_LETTERS") == 1
