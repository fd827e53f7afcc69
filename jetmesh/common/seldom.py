"""What is read at most once in a while, however often it is asked for."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Seldom(Generic[Result]):
    """Reads anew where the last result is so many seconds old."""

    def __init__(self, seconds: float, read: Callable[[], Awaitable[Result]]) -> None:
        self._seconds, self._read = seconds, read
        self._known: tuple[float, Result] | None = None

    async def get(self) -> Result:
        """The result; raises what reading it raises."""
        now = time.monotonic()
        if self._known is None or now - self._known[0] >= self._seconds:
            self._known = now, await self._read()
        return self._known[1]
