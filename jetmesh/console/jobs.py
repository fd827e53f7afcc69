"""Replaying or discarding many letters: in the background, at a rate, to be stopped, with the outcome of each."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.operate.dead_letters import DeadLetter, DeadLetters
from jetmesh.operate.replay import Unfit

KEPT = 50
"""How many ended jobs are remembered."""

Action = Callable[[DeadLetter], Awaitable[None]]


@dataclass(slots=True)
class LetterJob:
    """One action on many letters, and how far it is."""

    action: str
    group: str
    sequences: Sequence[int]
    rate: float
    by: str
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    done: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    """Those that were not there any more: another operator was quicker."""
    failed: dict[int, str] = field(default_factory=dict)
    is_stopped: bool = False
    is_over: bool = False
    trouble: str = ""

    @property
    def total(self) -> int:
        """How many letters it is about."""
        return len(self.sequences)

    @property
    def passed(self) -> int:
        """How many it is through with."""
        return len(self.done) + len(self.gone) + len(self.failed)


class LetterJobs:
    """The jobs that run in this console, and those that ended of late."""

    def __init__(self) -> None:
        self._jobs: dict[str, LetterJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, job_id: str) -> LetterJob | None:
        """The job of this id."""
        return self._jobs.get(job_id)

    def of(self, group: str) -> list[LetterJob]:
        """The jobs about a group, the newest first."""
        return [job for job in reversed(self._jobs.values()) if job.group == group]

    def start(self, job: LetterJob, post: DeadLetters, action: Action) -> LetterJob:
        """Begin it."""
        for old in [each.id for each in self._jobs.values() if each.is_over][:-KEPT]:
            del self._jobs[old]
        self._jobs[job.id] = job
        task = asyncio.create_task(_run(job, post, action), name=f"{job.action} {job.total} letters")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def stop(self) -> None:
        """Stop all of them; each finishes its letter."""
        for job in self._jobs.values():
            job.is_stopped = True
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _run(job: LetterJob, post: DeadLetters, action: Action) -> None:
    """One letter after the other. Where the broker is away it ends, and says so: nothing is done twice."""
    try:
        for sequence in job.sequences:
            if job.is_stopped:
                break
            await _step(job, post, action, sequence)
            if job.rate:
                await asyncio.sleep(1 / job.rate)
    except (Unavailable, TimeoutError, ApiError) as away:
        job.trouble = f"{away}"
    finally:
        job.is_over = True


async def _step(job: LetterJob, post: DeadLetters, action: Action, sequence: int) -> None:
    letter = await post.one(sequence)
    if letter is None:
        job.gone.append(sequence)
        return
    try:
        await action(letter)
    except Unfit as unfit:
        job.failed[sequence] = str(unfit)
    else:
        job.done.append(sequence)
