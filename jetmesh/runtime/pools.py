"""Pools for reactions that are plain functions: what blocks runs in threads, what computes in processes.

The event loop goes on meanwhile: it tells the broker that the delivery is in progress, and other reactions run. A stop
waits for what has begun, as for every delivery; a thread can't be ended from outside.
"""

import asyncio
import pickle
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import copy_context
from functools import partial
from multiprocessing import get_context
from typing import Any

from jetmesh.reaction import Pool, Reaction
from jetmesh.settings import Settings


class Pools:
    """The pools of one service in this process, each made when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[Pool, Executor] = {}

    def runner(self, reaction: Reaction) -> Callable[..., Awaitable[Any]]:
        """What runs a reaction's function: the function itself if it is async."""
        function: Callable[..., Any] = reaction.function
        return partial(self._run, reaction.pool, function) if reaction.pool else function

    def close(self) -> None:
        """Begin nothing more; what runs is left to end."""
        for pool in self._made.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._made.clear()

    async def _run(self, pool: Pool, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        if pool == "threads":  # with the caller's span
            return await loop.run_in_executor(
                self._of(pool), partial(copy_context().run, _in_thread, function, *arguments)
            )
        executor = self._of(pool)
        try:
            return await loop.run_in_executor(executor, _in_process, function, *arguments)
        except BrokenProcessPool:
            if self._made.get(pool) is executor:
                del self._made[pool]
            raise RuntimeError("a process of the pool ended in the midst of its work, out of memory perhaps") from None

    def _of(self, pool: Pool) -> Executor:
        if pool not in self._made:
            self._made[pool] = self._threads() if pool == "threads" else self._processes()
        return self._made[pool]

    def _threads(self) -> Executor:
        return ThreadPoolExecutor(self._settings.pool_threads, thread_name_prefix="jetmesh-reaction")

    def _processes(self) -> Executor:
        """Processes that were not forked: a fork would take over the threads' locks and the connections."""
        return ProcessPoolExecutor(
            self._settings.pool_processes or None, mp_context=get_context("spawn"), initializer=_leave_signals
        )


def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function. A future can't carry StopIteration, and what is no Exception would end the event loop."""
    try:
        return function(*arguments)
    except BaseException as raised:
        if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
            raise
        raise RuntimeError(f"{function.__qualname__} raised {raised!r}") from raised


def _in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function. An error that can't be read on the other side would end the whole pool."""
    try:
        return _in_thread(function, *arguments)
    except Exception as error:
        if _is_portable(error):
            raise
        raise RuntimeError(f"{type(error).__qualname__}: {error}") from None


def _is_portable(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


def _leave_signals() -> None:
    """A terminal and systemd send their signals to every process of the service: the service decides."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
