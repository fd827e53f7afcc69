"""Events of a small mesh for the runtime's own tests: jobs are asked for, work finishes them."""

from typing import Self

from jetmesh import Service, Unavailable
from jetmesh_contracts import Event, Token


class JobEvent(Event, owner="jobs", key_field="job_id"):
    """An event about a job."""

    job_id: Token


class Asked(JobEvent, type="jobs.asked", from_outside=True):
    """Somebody wants a job done."""

    effort: int = 1


class Dropped(JobEvent, type="jobs.dropped"):
    """Nobody wants it any more."""


class WorkEvent(Event, owner="work", key_field="job_id"):
    """An event about the work on a job."""

    job_id: Token


class Finished(WorkEvent, type="work.finished", ending=True):
    """The job is done."""


class Failed(WorkEvent, type="work.failed", ending=True):
    """The job can't be done."""


class Noted(WorkEvent, type="work.noted"):
    """The job was dropped."""


class Level(Event, type="tally.level", owner="work", key_field="name", state=True):
    """How much effort was spent, all jobs together."""

    name: Token
    spent: int


class Work:
    """What work has recorded about a job."""

    finished = False

    def evolve(self, event: Event) -> Self:
        """The work after `event`."""
        self.finished = self.finished or isinstance(event, Finished)
        return self


def work() -> Service:
    """A service `work` without reactions yet."""
    return Service("work")


def finishing(begun: list[str] | None = None) -> Service:
    """The service with its one reaction: each job is finished. The keys go into `begun`, in their order."""
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        if begun is not None:
            begun.append(asked.job_id)
        return Finished(job_id=asked.job_id)

    return service


def finishing_at_last(tries: list[str], pause_seconds: float) -> Service:
    """The service that does the jobs, each after one that failed: what it needs is away for so long."""
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, the second time."""
        tries.append(asked.job_id)
        if tries.count(asked.job_id) == 1:
            raise Unavailable("not yet", pause_seconds)
        return Finished(job_id=asked.job_id)

    return service


def desk() -> Service:
    """The service that takes jobs from outside."""
    service = Service("jobs")

    @service.intake
    async def take(asked: Asked) -> Asked:
        """Somebody outside wants a job done: record that."""
        return asked

    return service


SERVICES = (desk(), finishing())
APP = "tests.support.jobs:SERVICES"
"""For a process of its own."""
