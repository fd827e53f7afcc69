"""How many events were recorded in each of the last minutes: exactly, from the sequences of the streams."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from jetmesh.console.link import Link
from jetmesh.console.past import SECONDS
from jetmesh.jetstream.api import request as ask
from jetmesh.service import Service
from jetmesh.topology import partitions

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Minute:
    """What was recorded in a minute, by service; of the last one, until now."""

    start: float
    counts: Mapping[str, int]

    @property
    def count(self) -> int:
        """All services together."""
        return sum(self.counts.values())


class RecordedMinutes:
    """Knows the first sequence of each past minute, so that a minute is asked for once."""

    def __init__(self, link: Link, services: Sequence[Service]) -> None:
        self._link = link
        self._services = [service for service in services if service.records]
        self._known: dict[tuple[str, int], int] = {}

    async def minutes(self) -> list[Minute]:
        """The minutes of the last quarter of an hour.

        Raises:
            Unavailable: the broker is away.
        """
        if not self._services:
            return []
        now = int(time.time())
        starts = range((now - SECONDS) // MINUTE * MINUTE, now + 1, MINUTE)
        self._known = {name: first for name, first in self._known.items() if name[1] >= starts[0]}
        counts = await asyncio.gather(*(self._counts(service, starts) for service in self._services))
        names = [service.name for service in self._services]
        return [
            Minute(start, dict(zip(names, of_minute, strict=True)))
            for start, of_minute in zip(starts, zip(*counts, strict=True), strict=True)
        ]

    async def _counts(self, service: Service, starts: range) -> list[int]:
        """Of each minute, over the parts of the service's stream."""
        names = partitions.names(service.stream, self._link.settings.split)
        parts = await asyncio.gather(*(self._of_stream(name, starts) for name in names))
        return [sum(of_minute) for of_minute in zip(*parts, strict=True)]

    async def _of_stream(self, stream: str, starts: range) -> list[int]:
        info = await ask(self._link.context.connection, f"STREAM.INFO.{stream}")
        if info is None:
            return [0] * len(starts)
        behind = info["state"]["last_seq"] + 1
        firsts = await asyncio.gather(*(self._first(stream, start, behind) for start in starts))
        return [later - first for first, later in pairwise([*firsts, behind])]

    async def _first(self, stream: str, start: int, behind: int) -> int:
        """The first sequence of a minute; `behind` the last message, if none came since."""
        if (stream, start) in self._known:
            return self._known[stream, start]
        found = await self._link.context.direct_get.first_since(stream, datetime.fromtimestamp(start, UTC))
        if found is not None:
            self._known[stream, start] = found
        return behind if found is None else min(found, behind)
