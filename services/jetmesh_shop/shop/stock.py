"""The stock of every article: read when it is asked for, again and again while somebody looks."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Self

from jetmesh import Mesh, Unavailable
from jetmesh_contracts import StockLevel
from jetmesh_shop.shop.articles import ARTICLES

AGAIN_SECONDS = 0.25


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
                self._levels = await self._read()
        return dict(self._levels)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Self]:
        """Somebody looks: it is read once for all who do."""
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
            levels: dict[str, int] = {}
            with suppress(Unavailable):
                levels = await self._read()
            if levels != self._levels:
                self._levels = levels
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self) -> dict[str, int]:
        """What inventory recorded last of each article."""
        pages = await asyncio.gather(*(self._mesh.read(sku, StockLevel, limit=1) for sku in ARTICLES))
        found = (StockLevel.read(recorded.data) for page in pages for recorded in page.events)
        return {level.sku: level.available for level in found}
