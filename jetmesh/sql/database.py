"""What `jetmesh.sql` needs of a database: the drivers' connections as they are, and no layer over them."""

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from jetmesh.sql.tables import Table, statement

Connection_co = TypeVar("Connection_co", bound="DriverConnection", covariant=True)


class TableMissing(RuntimeError):
    """A table of the inbox, the outbox or the projections is not there; the text has the statement that makes it."""


class NotInTransaction(TypeError):
    """What was given is no connection of the driver, or none in a transaction."""


class DriverConnection(Protocol):
    """A connection of a driver: psycopg's `AsyncConnection`, aiosqlite's `Connection`."""

    def execute(self, query: Any, parameters: Any = ..., /) -> Awaitable[Any]:
        """Run a statement; its cursor."""
        ...


class RelayConnection(Protocol):
    """The connection of the one relay that publishes what stands in the outbox now."""

    async def run(self, table: Table, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement by itself, and return its rows."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when something may have been added, at the latest after so long."""
        ...


class Database(Protocol[Connection_co]):
    """A database that is open: `Postgres` or `SQLite`."""

    placeholder: str
    """What stands for a parameter in a statement."""
    types: Mapping[str, str]
    """The names of its column types."""

    async def create_tables(self) -> None:
        """Make the tables of the inbox, the outbox and the projections where they are not there."""
        ...

    def making(self) -> AbstractAsyncContextManager[Connection_co]:
        """The same as `transaction`, for what makes or removes tables: one process at a time."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Connection_co]:
        """A connection in a transaction, committed at the end of the block and rolled back where that raises."""
        ...

    def line(self) -> AbstractAsyncContextManager[RelayConnection]:
        """The connection of a relay; the block begins when no other relay has one."""
        ...

    def is_in_transaction(self, connection: Any) -> bool:
        """Whether it is a connection of this driver, in a transaction.

        Raises:
            AttributeError: it is none.
        """
        ...

    async def added(self, connection: Any) -> None:
        """Wake the relay when the transaction is committed."""
        ...

    def misses_table(self, error: Exception) -> bool:
        """Whether the error says that a table is not there."""
        ...


@contextmanager
def naming(database: Database[Any], table: Table) -> Iterator[None]:
    """Say which table is missing, and how it is made.

    Raises:
        TableMissing: it is not there.
    """
    try:
        yield
    except Exception as error:
        if not database.misses_table(error):
            raise
        raise TableMissing(
            f"the database has no table {table.name}: let a migration make it, or `await database.create_tables()` do "
            f"so before the service starts:\n{statement(table, database.types)}"
        ) from None


def stamp(ago: timedelta = timedelta()) -> str:
    """A time as both databases read and compare it."""
    return (datetime.now(UTC) - ago).isoformat()


def written(query: str, placeholder: str) -> str:
    """A statement with the placeholders of the driver."""
    return query if placeholder == "?" else query.replace("?", placeholder)
