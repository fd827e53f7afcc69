"""A read model in its second version, which is read; the first is still there."""

from pathlib import Path
from typing import Any

from jetmesh.sql import Projection, SQLite


async def two_versions(file: Path) -> None:
    """Make the database."""
    async with SQLite(file) as opened:
        await opened.create_tables()
        for version in (1, 2):
            one: Projection[Any] = Projection(opened, "visits", version=version, tables={"visits": "guest text"})
            await one.create()
            await one.take_over()
