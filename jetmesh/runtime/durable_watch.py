"""Watches a service's durables: which are missing or paused, and the broker's time."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.transport import Transport
from jetmesh.topology.difference import RENAMED
from jetmesh.topology.streams import Consumer

log = logging.getLogger("jetmesh.durables")

POLL_SECONDS = 15.0
MISSING_SECONDS = 1.0
"""The pause while one is missing: the service becomes ready as soon as it is there again."""

Place: TypeAlias = tuple[str, str]
"""A stream and a durable of it."""
Info: TypeAlias = Mapping[str, Any]
"""What the broker says of a durable (CONSUMER.INFO)."""


def pause_of(info: Info) -> str:
    """Until when a durable is paused, in words, and who goes on with its work."""
    successor = (info["config"].get("metadata") or {}).get(RENAMED)
    return f"paused{f' for {successor}' if successor else ''} until {info['config'].get('pause_until', '')[:19]}Z"


class Durables:
    """The last state of each durable; `found` is called with each."""

    def __init__(
        self,
        connection: Transport,
        consumers: Callable[[], Sequence[Consumer]],
        found: Callable[[Place, Info], None] = lambda *_: None,
    ) -> None:
        self.infos: dict[Place, Info] = {}
        self.missing: set[Place] = set()
        self._connection, self._consumers, self._found = connection, consumers, found
        self._conditions = Conditions(log, 4 * POLL_SECONDS)

    async def watch(self, poll_seconds: float = 0.0) -> None:
        """Look again and again, after so long each time; 0: after `POLL_SECONDS`."""
        while True:
            for consumer in self._consumers():
                await self._look(consumer.stream, consumer.durable)
            self._compare_clocks()
            poll = poll_seconds or POLL_SECONDS
            pause = min(MISSING_SECONDS, poll) if self.missing else poll
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))

    @property
    def paused(self) -> dict[str, str]:
        """The durables that an operator paused, and until when."""
        whose = {(each.stream, each.durable): each.whose for each in self._consumers()}
        return {
            "/".join(place): f"{pause_of(info)}: `jetmesh resume {whose.get(place, place[1])}` ends it"
            for place, info in list(self.infos.items())
            if info.get("paused")
        }

    def paused_seconds(self, stream: str, durable: str) -> float:
        """For how long a durable is paused yet; 0: it is not."""
        info = self.infos.get((stream, durable)) or {}
        return float(info["pause_remaining"]) / 1e9 if info.get("paused") else 0.0

    async def _look(self, stream: str, durable: str) -> None:
        place = stream, durable
        try:
            info = await request(self._connection, f"CONSUMER.INFO.{stream}.{durable}")
        except (Unavailable, ApiError) as reason:
            log.debug("no state of %s/%s: %s", stream, durable, reason)
            self.infos.pop(place, None)
            return
        self.infos[place] = info or {}
        if info:
            self._found(place, info)
        (self.missing.add if info is None else self.missing.discard)(place)

    def _compare_clocks(self) -> None:
        if trouble := self._connection.clock.trouble:
            self._conditions.say(logging.WARNING, "clock", f"this machine's clock is {trouble}: synchronise it")
        else:
            self._conditions.over("clock")
