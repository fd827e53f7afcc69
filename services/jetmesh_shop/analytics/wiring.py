"""Analytics as it runs: on DuckDB, whose one writer it is; a second replica stands by until the first is gone."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from jetmesh import Context, read_settings
from jetmesh.sql import Warehouse
from jetmesh_shop.analytics.figures import Figures
from jetmesh_shop.analytics.queries import ORDERS, QUERIES
from jetmesh_shop.analytics.service import Analytics


class Settings(BaseModel):
    """`JETMESH_WAREHOUSE`: DuckDB's file."""

    warehouse: Path | None = None


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Analytics]:
    """The warehouse, and the endpoint `analytics.report` that answers while this process holds its file."""
    path = read_settings(Settings).warehouse or context.settings.state / "analytics.duckdb"
    async with Warehouse.held(path, ORDERS) as warehouse:

        async def report(_: bytes) -> bytes:
            return json.dumps(await warehouse.answers(QUERIES), default=str).encode()

        context.endpoint("report", report)
        if context.telemetry.is_measured:
            context.run(Figures(warehouse, context.telemetry.meter).watch)
        yield Analytics(warehouse)
