"""Reactions that run in a process of their own, found there by their module; and those that fail in odd ways."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from jetmesh import Retry
from tests.support.jobs import Asked, WorkEvent, work

TOO_MUCH = 9_000
ONCE = Retry(attempts=1)


class Computed(WorkEvent, type="work.computed"):
    """Something was computed, by this process."""

    pid: int


service = work()


@service.on(pool="processes", retry=ONCE)
def compute(asked: Asked) -> Computed:
    """Somebody wants a job done: compute it. What is too much kills its process, as the kernel does without memory."""
    if asked.effort >= TOO_MUCH:
        os.kill(os.getpid(), signal.SIGKILL)
    return Computed(job_id=asked.job_id, pid=os.getpid())


class Awkward(Exception):
    """An error that can be sent to another process, and not read there."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def raises(how: str) -> None:
    """Raise what an error of a function should not be."""
    match how:
        case "exit":
            sys.exit(3)
        case "stop":
            next(iter(()))
        case "cancelled":
            raise asyncio.CancelledError
        case "awkward":
            raise Awkward("an error", "with two arguments")


failing = work()


@failing.on(pool="processes", retry=ONCE)
def compute_badly(asked: Asked) -> Computed | None:
    """A job was asked for: fail as it says."""
    raises(asked.job_id)
    return None


@failing.on(retry=ONCE)
def block_badly(asked: Asked) -> Computed | None:
    """A job was asked for: fail as it says."""
    raises(asked.job_id)
    return None


@failing.on(retry=ONCE)
async def await_badly(asked: Asked) -> Computed | None:
    """A job was asked for: fail as it says."""
    raises(asked.job_id)
    return None


@failing.on_many(retry=ONCE)
async def decide_badly(asked: Sequence[Asked]) -> list[Computed]:
    """Jobs were asked for: fail as one says."""
    for each in asked:
        raises(each.job_id)
    return []
