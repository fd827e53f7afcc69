"""A reaction that computes, in a process of its own: found there by its module."""

import os
import signal

from jetmesh import Retry
from tests.support.jobs import Asked, WorkEvent, work

TOO_MUCH = 9_000


class Computed(WorkEvent, type="work.computed"):
    """Something was computed, by this process."""

    pid: int


service = work()


@service.on(pool="processes", retry=Retry(attempts=1))
def compute(asked: Asked) -> Computed:
    """Somebody wants a job done: compute it. What is too much kills its process, as the kernel does without memory."""
    if asked.effort >= TOO_MUCH:
        os.kill(os.getpid(), signal.SIGKILL)
    return Computed(job_id=asked.job_id, pid=os.getpid())
