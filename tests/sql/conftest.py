"""Both databases, each new for its test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.bookings.service import TABLE
from tests.support.bookings.wiring import AnyDatabase, database_of
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["postgresql", "sqlite"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the database of the test is."""
    if request.param == "sqlite":
        return str(tmp_path / "bookings.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest_asyncio.fixture
async def database(address: str) -> AsyncIterator[AnyDatabase]:
    """The database, open, with the tables."""
    async with database_of(address) as opened:
        await opened.create_tables()
        async with opened.transaction() as transaction:
            await transaction.execute(TABLE)
        yield opened
