"""One reading of the mesh a second, for all who look; none while nobody does."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence

from jetmesh.console.link import Link
from jetmesh.failure import Unavailable
from jetmesh.operate.overview import Overview, look
from jetmesh.service import Service

EVERY_SECONDS = 1.0
FRESH_SECONDS = 1.0
"""A reading that is younger answers a page without a new one."""


class Watch:
    """The newest reading, and those who wait for the next."""

    def __init__(self, link: Link, services: Sequence[Service]) -> None:
        self._link, self._services = link, services
        self._newest: Overview | None = None
        self._reading = asyncio.Lock()
        self._viewers = 0
        self._next: asyncio.Future[Overview | None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def now(self) -> Overview:
        """A reading that is at most a second old.

        Raises:
            Unavailable: the broker is away.
        """
        async with self._reading:
            before = self._newest
            if before is None or time.time() - before.at > FRESH_SECONDS:
                context = self._link.context
                self._newest = await look(context.connection, self._services, before, context.settings.split)
            assert self._newest is not None
            return self._newest

    @contextlib.contextmanager
    def viewing(self) -> Iterator[None]:
        """Read once a second for the block."""
        self._viewers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="the console's readings")
        try:
            yield
        finally:
            self._viewers -= 1

    def coming(self) -> "asyncio.Future[Overview | None]":
        """The next reading, the same for all who wait; None while the broker is away."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    async def _read(self) -> None:
        """Read while somebody looks."""
        while self._viewers:
            found: Overview | None = None
            with contextlib.suppress(Unavailable, TimeoutError):
                found = await self.now()
            if self._next and not self._next.done():
                self._next.set_result(found)
            await asyncio.sleep(EVERY_SECONDS)

    async def stop(self) -> None:
        """End the readings."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
