"""Where the deliveries of a batch, each inside its own middlewares, wait for one another to be decided together."""

import asyncio

from jetmesh.failure import Permanent
from jetmesh.outcome import Outcome
from jetmesh.runtime.handle import Handler
from jetmesh.telemetry.spans import Attempt


class Meeting:
    """Of so many attempts; `join` is what their middlewares call at last."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._turns: dict[Attempt, asyncio.Future[Outcome]] = {}
        self._complete = asyncio.Event()

    async def attend(self, attempt: Attempt, handle: Handler[Attempt]) -> Outcome | Exception:
        """Run an attempt inside its middlewares; how it ended."""
        attempt.make_current()
        try:
            return await handle(attempt)
        except Exception as error:
            return error
        finally:
            if attempt not in self._turns:  # a middleware ended it: the others do not wait for it
                self._count_off()

    async def join(self, attempt: Attempt) -> Outcome:
        """Wait until the batch is decided; what became of this attempt."""
        if attempt in self._turns or self._complete.is_set():
            raise Permanent("`call_next` was called twice or too late: a batch is decided once")
        turn: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._turns[attempt] = turn
        self._count_off()
        return await turn

    async def joined(self) -> list[Attempt]:
        """The attempts that are to be decided, once all are here or have ended."""
        await self._complete.wait()
        return list(self._turns)

    async def decided(self, attempt: Attempt, how: Outcome | Exception) -> None:
        """It is known what becomes of an attempt."""
        turn = self._turns[attempt]
        if turn.done():  # its middleware waits no longer
            return
        if isinstance(how, Exception):
            turn.set_exception(how)
        else:
            turn.set_result(how)

    def _count_off(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._complete.set()
