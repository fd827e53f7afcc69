"""SQLite, over aiosqlite: one connection for transactions, and one for the relay."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from os import PathLike, fspath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from jetmesh.common.extras import brought_by
from jetmesh.sql.database import DriverConnection, RelayConnection, naming
from jetmesh.sql.tables import TABLES, Table, statement

if TYPE_CHECKING:
    import aiosqlite

BUSY_SECONDS = 30.0
AGAIN_SECONDS, LOOK_SECONDS = 0.2, 0.02


class SQLite:
    """A database in a file: `async with SQLite("bookings.db") as database`. Several processes may use it.

    Its connections are aiosqlite's. Transactions of a process go one after the other: SQLite has one writer. A commit
    is on the disk when it returns (`synchronous=FULL`).
    """

    placeholder = "?"
    types: Mapping[str, str] = MappingProxyType(
        {"time": "text", "bytes": "blob", "number": "integer PRIMARY KEY AUTOINCREMENT"}
    )

    def __init__(self, path: str | PathLike[str]) -> None:
        with brought_by("sql", "jetmesh.sql"):
            import aiosqlite
        self._path = fspath(path)
        if self._path == ":memory:" or not self._path:
            raise ValueError("SQLite(path) takes the path of a file: what is in memory is gone with its process")
        self._connection: aiosqlite.Connection
        self._stack, self._turn = AsyncExitStack(), asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open it; the file is made where it is not there.

        Raises:
            ConnectionError: it can't be opened.
        """
        await asyncio.to_thread(_check, self._path)
        self._connection = await self._stack.enter_async_context(_opened(self._path))
        await self._connection.execute("PRAGMA journal_mode = WAL")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def create_tables(self) -> None:
        """Make the tables of the inbox, the outbox and the projections where they are not there."""
        async with self.making() as connection:
            for table in TABLES:
                await connection.execute(statement(table, self.types))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["aiosqlite.Connection"]:
        """The connection in a transaction, committed at the end of the block."""
        async with self._turn:
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                await self._connection.commit()
            except BaseException:
                await asyncio.shield(self._roll_back())
                raise

    def making(self) -> AbstractAsyncContextManager["aiosqlite.Connection"]:
        """The same as `transaction`: SQLite has one writer."""
        return self.transaction()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[RelayConnection]:
        """The connection of a relay, once no other one has the lock: a transaction on a file beside the database, which
        ends with its process."""
        async with _opened(f"{self._path}-relay", 0.0) as lock:
            while not await _begun(lock):  # noqa: ASYNC110  (another process holds it)
                await asyncio.sleep(AGAIN_SECONDS)
            async with _opened(self._path) as connection:
                yield _SQLiteLine(self, connection)

    def is_in_transaction(self, connection: Any) -> bool:
        """Whether the connection is in one."""
        return bool(connection.in_transaction)

    async def added(self, _connection: DriverConnection) -> None:
        """Nothing: the relay sees that the file has changed."""

    def misses_table(self, error: Exception) -> bool:
        """Whether a table is not there."""
        return isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such table")

    async def _roll_back(self) -> None:
        """Statements run in their order, also one whose caller was cancelled: what was begun is ended."""
        with suppress(sqlite3.OperationalError):  # nothing was begun
            await self._connection.execute("ROLLBACK")


class _SQLiteLine:
    def __init__(self, database: SQLite, connection: "aiosqlite.Connection") -> None:
        self._database, self._connection, self._version = database, connection, -1

    async def run(self, table: Table, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement, committed at once; its rows."""
        with naming(self._database, table):
            return [tuple(row) for row in await self._connection.execute_fetchall(query, parameters)]

    async def wait(self, seconds: float) -> None:
        """Wait until another connection has changed the file."""
        until = time.monotonic() + seconds
        while (version := await self._data_version()) == self._version and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        self._version = version

    async def _data_version(self) -> int:
        (row,) = await self._connection.execute_fetchall("PRAGMA data_version")
        return int(row[0])


@asynccontextmanager
async def _opened(path: str, busy_seconds: float = BUSY_SECONDS) -> "AsyncIterator[aiosqlite.Connection]":
    """A connection for the block."""
    import aiosqlite

    connection = await aiosqlite.connect(path, timeout=busy_seconds, isolation_level=None)
    try:
        yield connection
    finally:
        await asyncio.shield(connection.close())


def _check(path: str) -> None:
    """Check that the file can be opened, before a thread for it begins.

    Raises:
        ConnectionError: it can't.
    """
    try:
        sqlite3.connect(path).close()
    except sqlite3.OperationalError as closed:
        raise ConnectionError(f"{path}: {closed}; its folder must be there, and may be written to") from None


async def _begun(lock: "aiosqlite.Connection") -> bool:
    try:
        await lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
