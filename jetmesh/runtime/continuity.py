"""Checks after a reconnection that the durables are the same ones, of the same streams.

While the broker is away, or a durable does not answer, streams may be deleted and created again, or a restore may undo
what is in flight. So nothing is recorded after a reconnection until each durable has been looked at. A delivery of a
durable that is gone is dropped: it is not recorded, acknowledged, delayed or stored as a dead letter. If its message is
still in the stream, the new durable delivers it.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.pull import Pull
from jetmesh.runtime.context import Context

AGAIN_SECONDS, MISSING_SECONDS = 0.25, 1.0


class Continuity:
    """Looks at the durables of the pulls whenever one of them may have been replaced."""

    def __init__(self, context: Context, pulls: Sequence[Pull]) -> None:
        self._context, self._pulls = context, pulls
        self._created: dict[Pull, str] = {}
        self._lost_at = math.inf
        self._is_lost = asyncio.Event()
        context.connection.on_reconnected(self._on_reconnected)
        for pull in pulls:
            pull.on_lost(partial(self._on_lost, pull))

    async def keep(self) -> None:
        """Look now and after each loss, until every durable is there."""
        while True:
            self._is_lost.clear()
            if not await self._look() or self._is_lost.is_set():
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._lost_at = math.inf
            self._context.in_flight.be_sure()
            all_there = len(self._created) == len(self._pulls)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_lost.wait(), None if all_there else MISSING_SECONDS)

    def _on_reconnected(self) -> None:
        self._context.in_flight.doubt()
        self._forget()

    def _on_lost(self, pull: Pull) -> None:
        self._context.in_flight.disown(pull)
        self._created.pop(pull, None)
        self._forget()

    def _forget(self) -> None:
        """Deliveries from now on belong to the durable that the next look finds."""
        self._lost_at = time.monotonic()
        self._context.known.forget_all()
        self._is_lost.set()

    async def _look(self) -> bool:
        """Compare every durable with the earlier one; False if the broker does not answer."""
        found: dict[str, Any] = {}
        for pull in self._pulls:
            try:
                info = await request(self._context.connection, f"CONSUMER.INFO.{pull.stream}.{pull.durable}")
            except (Unavailable, ApiError):
                return False
            created = str(info.get("created")) if info else ""
            if created != self._created.pop(pull, created):
                self._context.in_flight.disown(pull, self._lost_at)
                self._context.known.forget_all()
            if info:
                self._created[pull] = created
                found[f"{pull.stream}/{pull.durable}"] = info["config"]
        self._context.histories.learn(found)
        return True
