"""Two versions of a small mesh: the newer one takes one more event from outside, and its work reacts to it, too."""

from jetmesh import Service
from tests.support.jobs import Asked, Finished, JobEvent


class Urged(JobEvent, type="jobs.urged", from_outside=True):
    """Somebody wants a job done at once."""


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


OLDER, NEWER = older(), newer()
