"""Checks after a reconnection that the durables are the same ones, of the same streams.

While the broker is away, or a durable does not answer, streams may be deleted and created again, or a restore may undo
what is in flight. So nothing is recorded after a reconnection until each durable has been looked at. A delivery of a
durable that is gone is dropped: no attempt at it begins, no sink keeps it, and it is not recorded, acknowledged,
delayed or stored as a dead letter. If its message is still in the stream, the new durable delivers it, once the history
of its stream is known.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.pull import Pull
from jetmesh.runtime.context import Context
from jetmesh.runtime.durable_watch import Info

AGAIN_SECONDS, MISSING_SECONDS = 0.25, 1.0


class Continuity:
    """Looks at the durables of the pulls whenever one of them may have been replaced; `on_new` is called with the pull
    of each that may be a new one."""

    def __init__(self, context: Context, pulls: Sequence[Pull], on_new: Callable[[Pull], None]) -> None:
        self._context, self._pulls, self._on_new = context, pulls, on_new
        self._created: dict[Pull, str] = {}
        self._lost_at = math.inf
        self._is_lost = asyncio.Event()
        self._looking: asyncio.Task[bool] | None = None
        context.connection.on_reconnected(self._on_reconnected)
        for pull in pulls:
            pull.on_lost(partial(self._on_lost, pull))

    async def keep(self) -> None:
        """Look now and after each loss, until every durable is there."""
        while True:
            self._is_lost.clear()
            if not await self._looked() or self._is_lost.is_set():
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._lost_at = math.inf
            self._context.in_flight.be_sure()
            all_there = len(self._created) == len(self._pulls)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_lost.wait(), None if all_there else MISSING_SECONDS)

    def compare(self, pull: Pull, info: Info) -> None:
        """What the broker says of a durable: a pull without a request under way does not hear that it was replaced."""
        created = str(info.get("created"))
        if self._created.get(pull, created) != created:
            self._on_lost(pull)

    def _on_reconnected(self) -> None:
        self._context.in_flight.doubt()
        self._forget()
        if self._looking:
            self._looking.cancel()

    def _on_lost(self, pull: Pull) -> None:
        pull.suspend()
        self._context.in_flight.disown(pull)
        self._created.pop(pull, None)
        self._forget()

    def _forget(self) -> None:
        """Deliveries from now on belong to the durable that the next look finds."""
        self._lost_at = time.monotonic()
        self._forget_stories()
        self._is_lost.set()

    def _forget_stories(self) -> None:
        self._context.known.forget_all()
        self._context.same_keys.forget_all()

    async def _looked(self) -> bool:
        """Whether every durable was looked at; what was asked before a reconnection is not answered."""
        self._looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait([self._looking])
            return not self._looking.cancelled() and self._looking.result()
        finally:
            self._looking.cancel()

    async def _look(self) -> bool:
        """Compare every durable with the earlier one, and learn the history of its stream before anything more is
        pulled from it; False if the broker does not answer."""
        for pull in self._pulls:
            try:
                info = await request(self._context.connection, f"CONSUMER.INFO.{pull.stream}.{pull.durable}")
            except (Unavailable, ApiError):
                return False
            if self._is_lost.is_set():
                return False
            created = str(info.get("created")) if info else ""
            before = self._created.pop(pull, "")
            if before not in ("", created):
                self._context.in_flight.disown(pull, self._lost_at)
                self._forget_stories()
            if info:
                self._created[pull] = created
                self._context.histories.learn({f"{pull.stream}/{pull.durable}": info["config"]})
                pull.found()
                if created != before:
                    self._on_new(pull)
            else:
                pull.suspend()
        return True
