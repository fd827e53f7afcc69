"""Two readings of the mesh a second, for all who look; none while nobody does."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jetmesh.console.link import Link
from jetmesh.console.past import Past
from jetmesh.console.state import told
from jetmesh.failure import Unavailable
from jetmesh.operate.overview import Overview, look
from jetmesh.service import Service

EVERY_SECONDS = 0.5
"""From the begin of one reading to that of the next: what is shown is never older than a second."""
RATES_SECONDS = 3.0
"""The rates are those of so many seconds."""
Told = dict[str, Any]
AGE_SECONDS_MAX = 10.0
"""A reading that is older says nothing about the rates of now."""


class Watch:
    """The newest readings, and those who wait for the next."""

    def __init__(self, link: Link, services: Sequence[Service]) -> None:
        self._link, self._services = link, services
        self.past = Past()
        self._readings: deque[Overview] = deque(maxlen=round(RATES_SECONDS / EVERY_SECONDS))
        self._reading = asyncio.Lock()
        self._viewers = 0
        self._next: asyncio.Future[Told] | None = None
        self._task: asyncio.Task[None] | None = None

    async def now(self) -> Overview:
        """A reading that is younger than a second; while somebody looks on there is one.

        Raises:
            Unavailable: the broker is away.
        """
        async with self._reading:
            self._link.require()
            is_fresh = bool(self._readings) and time.time() - self._readings[-1].at < EVERY_SECONDS
            return self._readings[-1] if is_fresh else await self._look()

    @contextlib.contextmanager
    def viewing(self) -> Iterator[None]:
        """Read twice a second for the block."""
        self._viewers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="the console's readings")
        try:
            yield
        finally:
            self._viewers -= 1

    def coming(self) -> "asyncio.Future[Told]":
        """What the next reading tells, made once for all who wait; nothing while the broker is away."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    async def _read(self) -> None:
        """Read while somebody looks."""
        while self._viewers:
            begun, found = time.monotonic(), told(None)
            with contextlib.suppress(Unavailable, TimeoutError):
                async with self._reading:
                    found = told(await self._look())
            if self._next and not self._next.done():
                self._next.set_result(found)
            await asyncio.sleep(max(0.0, begun + EVERY_SECONDS - time.monotonic()))

    async def _look(self) -> Overview:
        context = self._link.context
        found = await look(context.connection, self._services, self._before(), context.settings.split)
        self._readings.append(found)
        self.past.keep(found.at, told(found))
        return found

    def _before(self) -> Overview | None:
        """The reading since which the rates are counted, with the orphans that are known by now."""
        while self._readings and time.time() - self._readings[0].at > AGE_SECONDS_MAX:
            self._readings.popleft()
        if not self._readings:
            return None
        newest = self._readings[-1]
        return replace(self._readings[0], orphans=newest.orphans, orphans_at=newest.orphans_at)

    async def stop(self) -> None:
        """End the readings."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
