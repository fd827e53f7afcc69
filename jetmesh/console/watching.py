"""The readings of the mesh, for all who look; none while nobody does."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.console.link import Link
from jetmesh.console.past import Past
from jetmesh.console.state import told
from jetmesh.failure import Unavailable
from jetmesh.http.events import event
from jetmesh.operate.overview import Overview, Readings
from jetmesh.service import Service

EVERY_SECONDS = 0.75
"""From the begin of one reading to that of the next: what is shown is never older than a second."""
RATES_SECONDS = 3.0
"""The rates are those of so many seconds."""
Told = Mapping[str, Any]
AGE_SECONDS_MAX = 10.0
"""A reading that is older says nothing about the rates of now."""


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """What a reading tells: the whole, and as an event what differs from the frame before; empty where nothing does."""

    number: int
    told: Told
    news: str

    def since(self, number: int) -> str:
        """The event for a page that shows this frame."""
        return self.news if number == self.number - 1 else event("mesh", self.told)


class Watch:
    """The newest readings, and those who wait for the next."""

    def __init__(self, link: Link, services: Sequence[Service], *, discreet: bool = False) -> None:
        """If `discreet`, nobody is told the texts of errors."""
        self._link, self._services, self._discreet = link, services, discreet
        self.past = Past()
        self._mesh: Readings | None = None
        self._readings: deque[Overview] = deque(maxlen=round(RATES_SECONDS / EVERY_SECONDS))
        self._reading = asyncio.Lock()
        self._viewers = 0
        self._frame = LiveFrame(0, {}, "")
        self._next: asyncio.Future[LiveFrame] | None = None
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

    def told(self, overview: Overview) -> dict[str, Any]:
        """What the pages say of a reading."""
        return told(overview, discreet=self._discreet)

    @contextlib.contextmanager
    def viewing(self) -> Iterator[None]:
        """Read again and again for the block."""
        self._viewers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="the console's readings")
        try:
            yield
        finally:
            self._viewers -= 1

    def coming(self) -> "asyncio.Future[LiveFrame]":
        """What the next reading tells, made once for all who wait; nothing while the broker is away."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    async def _read(self) -> None:
        """Read while somebody looks."""
        while self._viewers:
            begun, found = time.monotonic(), None
            with contextlib.suppress(Unavailable, TimeoutError):
                async with self._reading:
                    found = await self._look()
            known = told(None) if found is None else self.told(found)
            self._tell({**known, "trouble": self._link.trouble})
            await asyncio.sleep(max(0.0, begun + EVERY_SECONDS - time.monotonic()))

    def _tell(self, known: dict[str, Any]) -> None:
        """Give all who wait the next frame."""
        if known["trouble"]:
            known["warnings"] = [self._link.away]
        changed = _difference(self._frame.told, known)
        self._frame = LiveFrame(self._frame.number + 1, known, event("mesh", changed) if changed else "")
        if self._next and not self._next.done():
            self._next.set_result(self._frame)

    async def _look(self) -> Overview:
        context = self._link.context
        if self._mesh is None or self._mesh.connection is not context.connection:
            self._mesh = Readings(context.connection, self._services, context.settings.split)
        found = await self._mesh.read(self._before())
        self._readings.append(found)
        if self.past.takes(found.at):
            self.past.keep(found.at, self.told(found))
        return found

    def _before(self) -> Overview | None:
        """The reading since which the rates are counted."""
        while self._readings and time.time() - self._readings[0].at > AGE_SECONDS_MAX:
            self._readings.popleft()
        return self._readings[0] if self._readings else None

    async def stop(self) -> None:
        """End the readings."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


def _difference(before: Told, now: Told) -> dict[str, Any]:
    """What is new or another one, of the cells reaction by reaction."""
    found = {name: value for name, value in now.items() if before.get(name) != value}
    if "cells" in found:
        known = before.get("cells", {})
        found["cells"] = {name: value for name, value in found["cells"].items() if known.get(name) != value}
    return found
