"""Two versions of a small mesh: the newer one takes one more event from outside, and its work reacts to it, too."""

from jetmesh import Service
from tests.support.jobs import Asked, Finished, JobEvent, WorkEvent


class Urged(JobEvent, type="jobs.urged", from_outside=True):
    """Somebody wants a job done at once."""


class Postponed(WorkEvent, type="work.postponed"):
    """The job is done another day."""


def older() -> tuple[Service, Service]:
    """Knows jobs that are asked for."""
    jobs, work = Service("jobs"), Service("work")

    @jobs.intake
    async def take(asked: Asked) -> Asked:
        """Somebody wants a job done: take it."""
        return asked

    @work.on
    async def finish(asked: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=asked.job_id)

    return jobs, work


def newer() -> tuple[Service, Service]:
    """Knows jobs that are urgent as well."""
    jobs, work = Service("jobs"), Service("work")

    @jobs.intake
    async def take(asked: Asked) -> Asked:
        """Somebody wants a job done: take it."""
        return asked

    @jobs.intake
    async def hurry(urged: Urged) -> Urged:
        """Somebody wants a job done at once: take it."""
        return urged

    @work.on
    async def finish(wanted: Asked | Urged) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=wanted.job_id)

    return jobs, work


def newest() -> tuple[Service, Service]:
    """Finds out that some jobs can't be done, which the others do not know."""
    jobs, work = newer()[0], Service("work")

    @work.on
    async def finish(wanted: Asked | Urged) -> Finished | Postponed:
        """A job is asked for: do it, or postpone it."""
        return Postponed(job_id=wanted.job_id) if wanted.job_id.endswith("7") else Finished(job_id=wanted.job_id)

    return jobs, work


OLDER, NEWER, NEWEST = older(), newer(), newest()
