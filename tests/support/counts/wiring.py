"""Its dependencies in a process of its own, which dies at the line that the environment names."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jetmesh import Context, Service
from jetmesh.sql import Projection
from jetmesh.sql.projection import BEGIN, DONE, SWITCH
from tests.support.bookings.wiring import AnyDatabase, database_of, die
from tests.support.counts.service import TABLES, Counts, count_1, count_2, counts

AT, ONCE, DATABASE = "COUNTS_DIE_AT", "COUNTS_DIE_ONCE", "COUNTS_DATABASE"
LINES = {BEGIN: "begun", DONE: "built", SWITCH: "switched"}


class Watched(Projection[Any]):
    """A version that says which of its statements it has run."""

    reached: Callable[[str], None]

    async def _run(self, connection: Any, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        rows = await super()._run(connection, query, *parameters)
        if self.version > 1:
            self.reached(LINES.get(query, ""))
        return rows


@asynccontextmanager
async def open_counts(
    context: Context, service: Service, database: AnyDatabase, reached: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Counts]:
    """The read model in the versions that the service feeds; each takes over when it has caught up."""
    async with AsyncExitStack() as stack:
        found: dict[int, Projection[Any]] = {}
        for version, function in ((1, count_1), (2, count_2)):
            if function.__name__ not in {reaction.name for reaction in service.reactions}:
                continue
            found[version] = one = Watched(database, "counts", version=version, tables=TABLES[version])
            one.reached = reached
            await one.create()
            await stack.enter_async_context(one.taking_over(context, service, function, poll_seconds=0.05))
        yield Counts(found, reached)


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Counts]:
    """The database and the read model."""
    reached = partial(die, os.environ.get(AT, ""), Path(os.environ.get(ONCE, "")))
    async with database_of(os.environ[DATABASE]) as database:
        await database.create_tables()
        async with open_counts(context, counts, database, reached) as opened:
            yield opened
