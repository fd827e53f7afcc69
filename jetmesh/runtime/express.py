"""What the express durable of a reaction has settled: the ordinary durable has a copy of each delivery, which waits.

So one attempt is made, by the express durable, although both deliver it. Once that one has acknowledged it, the event
is recorded, its dead letter is stored or its delayed redelivery is: nothing is left for the copy. A copy is handled as
any delivery where the express durable is not there or does not say that it has it; what comes twice then is what comes
twice after an ack wait, and what was recorded settles it.
"""

import asyncio
import time
from contextlib import suppress
from enum import Enum
from itertools import chain, repeat

from jetmesh.failure import Unavailable
from jetmesh.jetstream.delivery import RawDelivery, ack_facts
from jetmesh.jetstream.errors import ApiError
from jetmesh.reaction import Reaction
from jetmesh.runtime.context import Context
from jetmesh.runtime.durable_infos import DurableInfos
from jetmesh.topology import express

PAUSES_SECONDS = 0.05, 0.2
LONGEST_SECONDS = 1.0
"""The first pauses between two looks, and all further ones."""
AGAIN_SECONDS = 5.0
"""After how long a copy comes again that finds no room to wait."""


class CopyState(Enum):
    """What becomes of a copy: the express durable has settled the delivery, has it still, or does not have it."""

    SETTLED = "settled"
    WAITS = "waits"
    OURS = "ours"


class Express:
    """The express durables of one reaction. Copies wait in at most half of the slots."""

    def __init__(self, context: Context, reaction: Reaction) -> None:
        self._ordinary, self._durable = reaction.durable, reaction.express
        self._types = frozenset(event.type for event in reaction.urgent)
        self._infos = DurableInfos(context.connection)
        self._room = max(1, context.settings.slots // 2)
        self._waiting = 0
        self._stopped = asyncio.Event()

    def is_urgent(self, delivery: RawDelivery) -> bool:
        """Whether it is of an urgent type."""
        return delivery.type in self._types

    def is_copy(self, delivery: RawDelivery) -> bool:
        """Whether it is of an urgent type, and came by the ordinary durable."""
        return delivery.type in self._types and ack_facts(delivery.reply)[1] == self._ordinary

    @property
    def pause_seconds(self) -> float:
        """After how long a copy comes again that does not wait here; 0 if another process takes it at once."""
        return 0.0 if self._stopped.is_set() else AGAIN_SECONDS

    async def state_of(self, copy: RawDelivery) -> CopyState:
        """Wait until the express durable has settled a delivery; WAITS if there is no room to wait."""
        self._waiting += 1
        try:
            found = await self._look(copy, 0.0)
            for pause in chain(PAUSES_SECONDS, repeat(LONGEST_SECONDS)):
                if found is not CopyState.WAITS or self._waiting > self._room or self._stopped.is_set():
                    return found
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), pause)
                found = await self._look(copy, pause)
            raise AssertionError("it looks without an end")
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """The service stops: nothing waits any longer."""
        self._stopped.set()

    async def _look(self, copy: RawDelivery, old_seconds: float) -> CopyState:
        """What the broker said after the delivery arrived, at most so long ago: an earlier answer may be about another
        stream of the name."""
        since = max(copy.held_since, time.monotonic() - old_seconds)
        try:
            info = await self._infos.asked(f"{copy.stream}.{self._durable}", since)
        except (Unavailable, ApiError):
            return CopyState.WAITS
        if info is None or not express.delivers(info["config"], copy.subject, copy.sequence):
            return CopyState.OURS
        return CopyState.SETTLED if info["ack_floor"].get("stream_seq", 0) >= copy.sequence else CopyState.WAITS
