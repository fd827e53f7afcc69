"""A milestone is recorded once per key: a second one, from another cause, is refused aloud and stays visible."""

from collections.abc import Callable, Sequence

import pytest

from jetmesh import Service, Snapshot
from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Dropped, Finished, Work, work

WORDS = "j-1: work.finished was recorded before, from another cause, and a milestone is recorded once per key."


def without_a_story() -> Service:
    """Finishes a job, whatever becomes of it."""
    service = work()

    @service.on
    async def finish(event: Asked | Dropped) -> Finished:
        """Something has become of a job: finish it."""
        return Finished(job_id=event.job_id)

    return service


def by_its_story() -> Service:
    """The same, with a story that it does not mind."""
    service = work()

    @service.on
    async def finish(event: Asked | Dropped, story: Work) -> Finished:
        """Something has become of a job: finish it."""
        return Finished(job_id=event.job_id)

    return service


def first() -> Service:
    """The same, where the story begins."""
    service = work()

    @service.begins
    async def finish(event: Asked | Dropped) -> Finished:
        """Something has become of a job: finish it."""
        return Finished(job_id=event.job_id)

    return service


def together() -> Service:
    """The same, many at once."""
    service = work()

    @service.on_many
    async def finish(events: Sequence[Asked | Dropped], snapshot: Snapshot) -> list[Finished]:
        """Something has become of jobs: finish them."""
        await snapshot.stories(Work, Finished, [event.job_id for event in events])
        return [Finished(job_id=event.job_id) for event in events]

    return service


FORMS = pytest.mark.parametrize(
    "declared", [without_a_story, by_its_story, first, together], ids=lambda made: made.__name__
)


@FORMS
async def test_a_second_one_from_another_cause_is_a_letter_that_names_the_other_kinds(
    mesh_of: MeshOf, declared: Callable[[], Service]
) -> None:
    mesh = await mesh_of(declared())
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    await mesh.record(Dropped(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    await mesh.settled()
    assert letter.headers["Jetmesh-Subject"] == "jobs.dropped.j-1"
    assert letter.headers["Jetmesh-Reason"].startswith(WORDS)
    assert "`id_field=` or `occurrence=True`" in letter.headers["Jetmesh-Reason"]
    assert "`state=True`" in letter.headers["Jetmesh-Reason"]
    assert await mesh.count("WORK") == 1


@FORMS
async def test_what_is_delivered_again_is_settled(mesh_of: MeshOf, declared: Callable[[], Service]) -> None:
    """To a process that remembers nothing of it."""
    service = declared()
    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await mesh.start(service)
    await mesh.settled()
    assert await mesh.count("WORK") == 1
    assert await mesh.count("DEAD_LETTERS") == 0


def alone(service: Service) -> None:
    """Finishes a job that somebody asked for."""

    @service.on
    async def finish(asked: Asked) -> Finished:
        """Somebody asked for a job: finish it."""
        return Finished(job_id=asked.job_id)


def minding(service: Service) -> None:
    """The same, by its story."""

    @service.on
    async def finish(asked: Asked, story: Work) -> Finished:
        """Somebody asked for a job: finish it."""
        return Finished(job_id=asked.job_id)


def many(service: Service) -> None:
    """The same, many at once."""

    @service.on_many
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Somebody asked for jobs: finish them."""
        await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        return [Finished(job_id=one.job_id) for one in asked]


@pytest.mark.parametrize("declare", [alone, minding, many], ids=lambda declare: declare.__name__)
async def test_a_duplicate_of_the_only_cause_is_settled(mesh_of: MeshOf, declare: Callable[[Service], None]) -> None:
    """It was published a second time by hand, under another id: a milestone happens once per key all the same."""
    declare(service := work())
    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    await mesh.publish("jobs.asked.j-1", Asked(job_id="j-1").model_dump_json())
    await mesh.settled()
    assert await mesh.count("WORK") == 1
    assert await mesh.dead_letters() == []
