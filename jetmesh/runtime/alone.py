"""One delivery at a time that may have killed its process, and nothing beside it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jetmesh.jetstream.delivery import RawDelivery

ORDER_SECONDS = 0.1
"""Within this time suspects that come together take their turns at random: none always waits behind one that kills."""


class Alone:
    """`delivery` is the one whose turn it is."""

    def __init__(self) -> None:
        self.delivery: RawDelivery | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def run(self, delivery: RawDelivery) -> AsyncIterator[None]:
        """Wait for the delivery's turn, which lasts as long as the block."""
        await asyncio.sleep(random.uniform(0.0, ORDER_SECONDS))
        async with self._turn:
            self.delivery = delivery
            try:
                yield
            finally:
                self.delivery = None
