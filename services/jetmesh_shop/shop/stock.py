"""The stock of every article: read when it is asked for, followed while somebody looks."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Self

from jetmesh import Mesh, Unavailable
from jetmesh_contracts import StockLevel
from jetmesh_shop.shop.articles import ARTICLES

AGAIN_SECONDS = 1.0
EVERY = "*"


class Stock:
    """The levels that inventory recorded; an article without one is not known now."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._levels: dict[str, int] = {}
        self._viewers = 0
        self._following: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def levels(self) -> Mapping[str, int]:
        """How much there is of each article."""
        if not self._viewers:
            self._levels = {}
            with suppress(Unavailable):
                pages = await asyncio.gather(*(self._mesh.read(sku, StockLevel, limit=1) for sku in ARTICLES))
                for page in pages:
                    for recorded in page.events:
                        self._take(recorded.data)
        return dict(self._levels)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Self]:
        """Somebody looks: one consumer of the broker for all who do."""
        self._viewers += 1
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="the stock, followed")
        try:
            yield self
        finally:
            self._viewers -= 1
            if not self._viewers:
                self._following.cancel()
                self._following = None

    async def changed(self) -> None:
        """Return when a level is another."""
        await self._changed.wait()

    async def _follow(self) -> None:
        while True:
            with suppress(Unavailable):
                async for recorded in self._mesh.follow(EVERY, StockLevel):
                    self._take(recorded.data)
            await asyncio.sleep(AGAIN_SECONDS)

    def _take(self, data: bytes) -> None:
        level = StockLevel.read(data)
        self._levels[level.sku] = level.available
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
