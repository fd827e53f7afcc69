"""Tasks that have ended when they are said to have: before Python 3.12 `asyncio.wait_for` may lose a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any


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
