"""Tasks that have ended when they are said to have (before Python 3.12 `asyncio.wait_for` may lose a cancellation), and
what must not end one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

RAISED = (Exception, SystemExit, asyncio.CancelledError)
"""What code of an app may raise without ending its process, or the task that it runs in."""


async def finished(work: Coroutine[Any, Any, None], within_seconds: float | None) -> None:
    """Return when the work is done. It has ended when this is cancelled or the time is up.

    Raises:
        TimeoutError: it was not done in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=within_seconds)
    finally:
        if not task.done():
            await cancelled(task)
    if task.cancelled():
        raise TimeoutError
    task.result()


async def cancelled(task: "asyncio.Task[Any]", again_seconds: float = 0.1) -> None:
    """Cancel a task as often as it takes: again where it has not ended after so long."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=again_seconds)


def error_of(raised: BaseException) -> Exception:
    """What code of an app raised, as an error: `sys.exit` in a library would end the process, and after a cancellation
    that came from within nobody would answer.

    Raises:
        CancelledError: the task that runs it is cancelled.
    """
    if isinstance(raised, Exception):
        return raised
    if isinstance(raised, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
        raise raised
    error = RuntimeError(f"it raised {raised!r}")
    error.__cause__ = raised
    return error
