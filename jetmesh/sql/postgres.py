"""PostgreSQL, over psycopg 3: a pool for transactions, and a connection that listens for the relay."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from jetmesh.common.extras import brought_by
from jetmesh.sql.database import DriverConnection, RelayConnection, naming, written
from jetmesh.sql.tables import OUTBOX, TABLES, Table, statement

if TYPE_CHECKING:
    from psycopg import AsyncConnection

LOCK = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '.' || %s, 0))"
AGAIN_SECONDS = 0.5


class Postgres:
    """A PostgreSQL database, from version 13 on: `async with Postgres("postgresql://…") as database`.

    Its connections are psycopg's. The relay keeps one of its own, which holds a lock and listens: the address must be
    the server's, or that of a pooler that gives each client a session.
    """

    placeholder = "%s"
    types: Mapping[str, str] = MappingProxyType({
        "time": "text",
        "bytes": "bytea",
        "number": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    })  # fmt: skip

    def __init__(self, url: str, *, connections: int = 10) -> None:
        with brought_by("sql", "jetmesh.sql"):
            import psycopg  # noqa: F401
            from psycopg_pool import AsyncConnectionPool
        self._url = url
        self._pool = AsyncConnectionPool(url, min_size=1, max_size=connections, open=False)

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            ConnectionError: the server does not let us in; the text says why.
        """
        from psycopg import AsyncConnection, OperationalError

        try:
            await (await AsyncConnection.connect(self._url, connect_timeout=10)).close()
        except OperationalError as away:
            raise ConnectionError(f"PostgreSQL does not let us in: {str(away).strip()}") from None
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def create_tables(self) -> None:
        """Make the tables of the inbox, the outbox and the projections where they are not there."""
        async with self.making() as connection:
            for table in TABLES:
                await connection.execute(statement(table, self.types).encode())

    @asynccontextmanager
    async def making(self) -> AsyncIterator["AsyncConnection[tuple[Any, ...]]"]:
        """The same as `transaction`, under the lock of those who make tables."""
        async with self.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('jetmesh.sql', 0))")
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["AsyncConnection[tuple[Any, ...]]"]:
        """A connection of the pool in a transaction, committed at the end of the block."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def line(self) -> AsyncIterator[RelayConnection]:
        """The connection of a relay, once no other one has the lock."""
        from psycopg import AsyncConnection

        async with await AsyncConnection.connect(self._url, autocommit=True) as connection:
            while not await _is_true(connection, LOCK, OUTBOX.name):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_SECONDS)
            await connection.execute(f"LISTEN {OUTBOX.name}".encode())
            yield _PostgresLine(self, connection)

    def is_in_transaction(self, connection: Any) -> bool:
        """Whether the connection is in one, or begins one by its next statement."""
        return not connection.autocommit or bool(connection.info.transaction_status.value)

    async def added(self, connection: DriverConnection) -> None:
        """Notify the relay: the server does so at the commit."""
        await connection.execute(f"NOTIFY {OUTBOX.name}".encode())

    def misses_table(self, error: Exception) -> bool:
        """Whether a table is not there."""
        return getattr(error, "sqlstate", "") == "42P01"


class _PostgresLine:
    def __init__(self, database: Postgres, connection: "AsyncConnection[tuple[Any, ...]]") -> None:
        self._database, self._connection = database, connection

    async def run(self, table: Table, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement, committed at once; its rows."""
        with naming(self._database, table):
            cursor = await self._connection.execute(written(query, Postgres.placeholder).encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def wait(self, seconds: float) -> None:
        """Wait for a notification."""
        async for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            return


async def _is_true(connection: "AsyncConnection[tuple[Any, ...]]", query: str, *parameters: str) -> bool:
    row = await (await connection.execute(query.encode(), parameters)).fetchone()
    return bool(row and row[0])
