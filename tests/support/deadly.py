"""Two services for processes of their own: one job kills whoever handles it, and every other job is there with it."""

import asyncio
import os
import signal
from collections.abc import Sequence

from jetmesh import Retry, Service, Snapshot
from tests.support.jobs import Asked, Finished, Work

DEADLY = "deadly"
ATTEMPTS = 2
RETRY = Retry(attempts=ATTEMPTS)

one_by_one, together, patient = Service("work"), Service("work"), Service("work")


def _handle(asked: Asked) -> Finished:
    if asked.job_id == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return Finished(job_id=asked.job_id)


@one_by_one.begins(retry=RETRY)
async def finish(asked: Asked) -> Finished:
    """A job is wanted: do it, when the deadly one is in flight as well."""
    await asyncio.sleep(0 if asked.job_id == DEADLY else 0.2)
    return _handle(asked)


@together.on_many(retry=RETRY)
async def finish_all(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
    """Somebody wants jobs done: do them together."""
    stories = await snapshot.stories(Work, Finished, [one.job_id for one in asked])
    return [_handle(one) for one in asked if not stories[one.job_id].finished]


@patient.on_many(retry=Retry(attempts=None))
async def finish_all_at_last(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
    """Somebody wants jobs done: do them together, and never give up."""
    return await finish_all(asked, snapshot)


ONE_BY_ONE, TOGETHER, PATIENT = (one_by_one,), (together,), (patient,)
