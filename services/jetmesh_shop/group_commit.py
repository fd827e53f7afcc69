"""Group commit: calls that wait together are carried out together, in one worker thread and one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Call = TypeVar("Call")
Answer = TypeVar("Answer")


class GroupCommit(Generic[Call, Answer]):
    """A durable store's front: `commit` gets every call that waits and returns their answers, in order, once stored.

    A lone call starts at once; those that arrive meanwhile share the next transaction, so the cost of a disk's
    flush is divided by the load. An exception among the answers is raised to its caller alone; one that `commit`
    raises, to all of the batch.
    """

    def __init__(self, commit: Callable[[Sequence[Call]], Sequence[Answer | Exception]], name: str) -> None:
        self._commit = commit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._waiting: list[tuple[Call, asyncio.Future[Answer]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def submit(self, call: Call) -> Answer:
        """The answer to `call`, after the transaction that holds its effect."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((call, answer))
        if self._flush is None:
            self._flush = loop.create_task(self._flush_all())
        return await answer

    async def aclose(self) -> None:
        """Carry out what waits, then stop the thread; what comes later is refused with RuntimeError."""
        if self._flush is not None:
            await self._flush
        self._thread.shutdown()

    async def _flush_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            settle(batch, await self._carry_out([call for call, _ in batch]))
        self._flush = None

    async def _carry_out(self, calls: list[Call]) -> Sequence[Answer | Exception]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, calls)
        except Exception as error:
            return [error] * len(calls)


def settle(batch: Sequence[tuple[Call, asyncio.Future[Answer]]], answers: Sequence[Answer | Exception]) -> None:
    """Give each caller its answer; one that was cancelled meanwhile no longer wants it."""
    for (_, waiting), answer in zip(batch, answers, strict=True):
        if waiting.done():
            continue
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)
