"""Replaying, discarding or bringing back many letters: in the background, at a rate, to be stopped. The log says how it
began, how far it is and how it ended, so that one whose console ended can be gone on with."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.message import Refused
from jetmesh.operate.dead_letters import AlreadyHandled, DeadLetter, DeadLetters
from jetmesh.operate.operator_log import BatchNote, BatchState
from jetmesh.operate.replay import Unfit

log = logging.getLogger("jetmesh.console")

KEPT = 50
"""How many ended jobs are remembered."""
SHOWN = 5
"""Of how many refused letters the reason is remembered."""
NOTE_SECONDS = 15.0
UNSURE = "it was under way when its console ended, and may have been sent: see its story, then replay or discard it"
ELSEWHERE = "another console goes on with it"

LetterStep = Callable[[int], Awaitable[None]]
"""What is done with one letter. It raises `AlreadyHandled` where another operator was quicker, `Unfit` where it can't
be done."""


@dataclass(slots=True)
class LetterJob:
    """A batch that runs in this console: its note as it was at the beginning, and what became of it since."""

    note: BatchNote
    reaction: str
    by: str
    items: Sequence[int]
    """What is left: letters, or the entries of discards."""
    seen: int = 0
    """Where the newest note stands."""
    succeeded: int = 0
    gone: int = 0
    refused: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    is_over: bool = False
    trouble: str = ""
    told: float = 0.0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    is_left: bool = False
    """Whether the console ends: the batch is not over."""

    @property
    def is_stopped(self) -> bool:
        """Whether an operator stopped it."""
        return self.stopping.is_set() and not self.is_left

    @property
    def passed(self) -> int:
        """How many letters it is through with."""
        return self.succeeded + self.gone + self.refused

    def so_far(self, state: BatchState) -> BatchNote:
        """The note that says how far it is."""
        return replace(
            self.note, state=state, succeeded=self.succeeded, gone=self.gone, refused=self.refused,
            is_stopped=self.is_stopped, trouble=self.trouble,
        )  # fmt: skip


class LetterJobs:
    """The jobs that run in this console, and those that ended of late."""

    def __init__(self) -> None:
        self._jobs: dict[str, LetterJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, batch_id: str) -> LetterJob | None:
        """The job of this batch."""
        return self._jobs.get(batch_id)

    async def start(self, job: LetterJob, post: DeadLetters, step: LetterStep) -> None:
        """Log that it begins, or goes on, and begin it.

        Raises:
            AlreadyHandled: another console goes on with it.
            Unavailable: the broker is away.
        """
        state = BatchState.GOES_ON if job.seen else BatchState.BEGAN
        try:
            await _tell(job, post, state)
        except Refused:
            raise AlreadyHandled(f"the batch {job.note.id}: {ELSEWHERE}") from None
        for old in [each.note.id for each in self._jobs.values() if each.is_over][:-KEPT]:
            del self._jobs[old]
        self._jobs[job.note.id] = job
        task = asyncio.create_task(_run(job, post, step), name=f"{job.note.action} {job.note.total} letters")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Leave all of them; each finishes its letter, and can be gone on with."""
        for job in self._jobs.values():
            job.is_left = not job.stopping.is_set()
            job.stopping.set()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _run(job: LetterJob, post: DeadLetters, step: LetterStep) -> None:
    """One letter after the other. Where the broker is away it ends, and can be gone on with: nothing is done twice."""
    try:
        for item in job.items:
            if job.stopping.is_set():
                break
            await _step(job, step, item)
            if time.monotonic() - job.told > NOTE_SECONDS:
                await _tell(job, post, BatchState.GOES_ON)
            await _pause(job)
        await _tell(job, post, BatchState.GOES_ON if job.is_left else BatchState.ENDED)
    except Refused:
        job.trouble = ELSEWHERE
    except (Unavailable, TimeoutError, ApiError) as away:
        job.trouble = f"{away}"
    except Exception as surprise:
        log.exception("the batch %s ended early", job.note.id)
        job.trouble = f"{type(surprise).__name__}: {surprise}"
    finally:
        job.is_over = True


async def _step(job: LetterJob, step: LetterStep, item: int) -> None:
    try:
        await step(item)
    except AlreadyHandled:
        job.gone += 1
    except Unfit as unfit:
        job.refused += 1
        if len(job.failed) < SHOWN:
            job.failed[item] = str(unfit)
    else:
        job.succeeded += 1


async def _pause(job: LetterJob) -> None:
    """As the rate wants it; shorter if the job is stopped."""
    if job.note.rate:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.stopping.wait(), 1 / job.note.rate)


async def _tell(job: LetterJob, post: DeadLetters, state: BatchState) -> None:
    job.seen = await post.operators.write_batch(job.reaction, job.so_far(state), job.seen)
    job.told = time.monotonic()


def replaying(post: DeadLetters, batch: str, unsure: int = 0) -> LetterStep:
    """Replay a letter; the log says of one that is refused why. The one that is `unsure` is not sent again."""

    async def step(sequence: int) -> None:
        letter = await _existing(post, sequence)
        try:
            if sequence == unsure:
                raise Unfit(UNSURE)
            await post.replay(letter, batch)
        except Unfit as unfit:
            await post.refuse(letter, str(unfit), batch)
            raise

    return step


def discarding(post: DeadLetters, batch: str, reason: str) -> LetterStep:
    """Discard a letter."""

    async def step(sequence: int) -> None:
        await post.discard(await _existing(post, sequence), reason, batch)

    return step


def bringing_back(post: DeadLetters, batch: str) -> LetterStep:
    """Bring back what the entry at a sequence discarded."""

    async def step(sequence: int) -> None:
        await post.bring_back(sequence, batch)

    return step


async def _existing(post: DeadLetters, sequence: int) -> DeadLetter:
    letter = await post.one(sequence)
    if letter is None:
        raise AlreadyHandled(f"there is no letter {sequence} any more")
    return letter
