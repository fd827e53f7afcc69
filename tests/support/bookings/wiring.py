"""Its dependencies in a process of its own, which dies at the line that the environment names."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from jetmesh import Context
from jetmesh.sql import Inbox, Outbox, Postgres, SQLite
from jetmesh.sql.database import RelayConnection
from jetmesh.sql.relay import PUBLISHED
from jetmesh.sql.tables import Table
from tests.support.bookings.service import TABLE, Bookings, bookings

AnyDatabase: TypeAlias = Postgres | SQLite

AT, ONCE, DATABASE = "BOOKINGS_DIE_AT", "BOOKINGS_DIE_ONCE", "BOOKINGS_DATABASE"


def database_of(address: str) -> AnyDatabase:
    """The database at a URL, or in a file."""
    return Postgres(address) if address.startswith("postgresql:") else SQLite(address)


def die(at: str, once: Path, reached: str) -> None:
    """End the process as a lack of memory does, the first time that this line is reached."""
    if reached == at and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class _Watched:
    """The line of a relay, which says when it is about to take out what is published."""

    def __init__(self, line: RelayConnection) -> None:
        self._line, self.wait = line, line.wait

    async def run(self, table: Table, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement."""
        if query.startswith(PUBLISHED):
            _reached("published")
        return await self._line.run(table, query, parameters)


_reached = partial(die, os.environ.get(AT, ""), Path(os.environ.get(ONCE, "")))


@asynccontextmanager
async def wire(mesh: Context) -> AsyncIterator[Bookings]:
    """The database, the inbox, the outbox and its relay."""
    async with database_of(os.environ[DATABASE]) as database:
        await database.create_tables()
        async with database.transaction() as transaction:
            await transaction.execute(TABLE)
        whole = database.line

        @asynccontextmanager
        async def line() -> AsyncIterator[RelayConnection]:
            async with whole() as own:
                yield _Watched(own)

        database.line = line  # type: ignore[method-assign]
        outbox = Outbox(database, service=bookings)
        async with outbox.relay(mesh):
            yield Bookings(Inbox(database), outbox, _reached)
