"""Two attempts about one key in one process: the second is not refused for what the first one records."""

import asyncio
from collections import Counter, defaultdict

import pytest

from jetmesh import Service
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.group_commit import GroupCommit
from jetmesh.jetstream.message import Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.runtime.same_key import SameKeys
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Dropped, Failed, Finished, JobEvent, Noted, Work, work

JOBS = [f"j-{number}" for number in range(20)]


class Rendezvous:
    """Where the two attempts about a key meet: each has read the story, none has recorded."""

    def __init__(self) -> None:
        self.came = Counter[str]()
        self._both = defaultdict[str, asyncio.Event](asyncio.Event)
        self.is_open = True

    async def wait(self, event: JobEvent) -> None:
        """Until the other is there as well, and the way is open."""
        self.came[event.job_id] += 1
        if self.came[event.job_id] == 2 and self.is_open:
            self._both[event.job_id].set()
        await self._both[event.job_id].wait()

    def open(self) -> None:
        """Let all go on."""
        self.is_open = True
        for key in self.came:
            self._both[key].set()


def telling(meeting: Rendezvous) -> Service:
    """A service of two reactions that send a mail each, and do not decide by the story."""
    service = work()

    @service.on
    async def confirm(asked: Asked) -> Noted:
        """A job is asked for: say so."""
        await meeting.wait(asked)
        return Noted(job_id=asked.job_id)

    @service.on
    async def regret(dropped: Dropped) -> Failed:
        """A job is dropped: say so."""
        await meeting.wait(dropped)
        return Failed(job_id=dropped.job_id)

    return service


def ending(meeting: Rendezvous) -> Service:
    """A service of one reaction that two causes may lead to the same milestone."""
    service = work()

    @service.on
    async def finish(event: Asked | Dropped) -> Finished:
        """Something has become of a job: finish it."""
        await meeting.wait(event)
        return Finished(job_id=event.job_id)

    return service


def joining(decided: list[str]) -> Service:
    """A service that decides by the story: the first half is noted, the second one finishes the job."""
    service = work()

    @service.on
    async def join(half: Asked | Dropped, story: Noticed) -> Noted | Finished | None:
        """One half is there: finish the job once both are."""
        decided.append(half.job_id)
        return Finished(job_id=half.job_id) if story.noted else Noted(job_id=half.job_id)

    return service


class Noticed(Work):
    """Whether the first half was noted."""

    noted = False

    def evolve(self, event: object) -> "Noticed":
        """The work after `event`."""
        self.noted = self.noted or isinstance(event, Noted)
        return self


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subjects of what the broker refused."""
    subjects: list[str] = []
    meaning = Publisher._meaning

    def tell(self: Publisher, subject: str, refusal: ApiError) -> Exception:
        found = meaning(self, subject, refusal)
        if isinstance(found, Refused):
            subjects.append(subject)
        return found

    monkeypatch.setattr(Publisher, "_meaning", tell)
    return subjects


async def ask_and_drop(mesh: LocalMesh) -> None:
    """Both about each job."""
    await asyncio.gather(*(mesh.record(event(job_id=key)) for key in JOBS for event in (Asked, Dropped)))


async def test_two_that_do_not_decide_by_the_story_record_once_each(mesh_of: MeshOf, refused: list[str]) -> None:
    meeting = Rendezvous()
    mesh = await mesh_of(telling(meeting))
    await ask_and_drop(mesh)
    await mesh.settled()
    assert refused == []
    assert meeting.came == Counter(JOBS * 2), "a mail was sent again"
    assert [await mesh.types(key) >= {"work.noted", "work.failed"} for key in JOBS] == [True] * len(JOBS)
    assert await mesh.count("WORK") == 2 * len(JOBS)


async def test_what_another_process_recorded_is_read(mesh_of: MeshOf, refused: list[str]) -> None:
    meeting = Rendezvous()
    meeting.is_open = False
    mesh = await mesh_of(telling(meeting))
    await ask_and_drop(mesh)
    await mesh.until(lambda: meeting.came == Counter(JOBS * 2))
    for key in JOBS:
        await mesh.record(Finished(job_id=key))
    meeting.open()
    await mesh.settled()
    assert set(refused) >= {f"work.noted.{key}" for key in JOBS} or set(refused) >= {f"work.failed.{k}" for k in JOBS}
    assert meeting.came == Counter(JOBS * 2), "a mail was sent again"
    assert await mesh.count("WORK") == 3 * len(JOBS)


async def test_two_causes_of_one_milestone_are_still_told_apart(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(ending(Rendezvous()))
    await ask_and_drop(mesh)
    letters = await mesh.dead_letters(len(JOBS))
    assert len(letters) == len(JOBS)
    assert await mesh.count("WORK") == len(JOBS)


async def test_who_decides_by_the_story_decides_by_what_the_other_recorded(
    mesh_of: MeshOf, refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decided: list[str] = []
    entered = Counter[str]()
    enter, record = SameKeys.enter, GroupCommit.record

    def entering(self: SameKeys, subject: str) -> object:
        entered[subject.rpartition(".")[2]] += 1
        return enter(self, subject)

    async def once_both_are_there(self: GroupCommit, message: Message) -> int:
        while entered[message.subject.rpartition(".")[2]] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return await record(self, message)

    monkeypatch.setattr(SameKeys, "enter", entering)
    monkeypatch.setattr(GroupCommit, "record", once_both_are_there)
    mesh = await mesh_of(joining(decided))
    await ask_and_drop(mesh)
    await mesh.settled()
    assert refused == []
    assert Counter(decided) == Counter(JOBS * 2), "it decided again"
    assert await mesh.count("WORK") == 2 * len(JOBS)
