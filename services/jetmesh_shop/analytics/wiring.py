"""Analytics as it runs: on DuckDB, whose one writer it is; a second replica stands by until the first is gone."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from jetmesh import Context, read_settings
from jetmesh_shop.analytics.adapters import Warehouse, WarehouseBusy
from jetmesh_shop.analytics.figures import Figures
from jetmesh_shop.analytics.service import Analytics

log = logging.getLogger("jetmesh_shop.analytics")

STAND_BY_SECONDS = 0.5


class Settings(BaseModel):
    """`JETMESH_WAREHOUSE`: DuckDB's file."""

    warehouse: Path | None = None


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Analytics]:
    """The warehouse, and the endpoint `analytics.report` that answers while this process holds its file."""
    warehouse = await _take(read_settings(Settings).warehouse or context.settings.state / "analytics.duckdb")

    async def report(_: bytes) -> bytes:
        return json.dumps(await warehouse.report(), default=str).encode()

    context.endpoint("report", report)
    if context.telemetry.is_measured:
        context.run(Figures(warehouse, context.telemetry.meter).watch)
    try:
        yield Analytics(warehouse)
    finally:
        await warehouse.aclose()


async def _take(path: Path) -> Warehouse:
    """Open the warehouse, standing by for as long as another replica has it."""
    standing_by = False
    while True:
        try:
            return await Warehouse.open(path)
        except WarehouseBusy:
            if not standing_by:
                log.info("another replica has %s: standing by", path)
            standing_by = True
            await asyncio.sleep(STAND_BY_SECONDS)
