"""Whole streams are read page by page, in their order and to the end."""

from typing import Any

import pytest
import pytest_asyncio

from jetmesh.jetstream.api import request
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.direct_get import NobodyAnswers
from jetmesh.jetstream.stream_reader import messages, read

STREAM: dict[str, Any] = {"name": "THINGS", "subjects": ["thing.*.*"], "allow_direct": True}


@pytest_asyncio.fixture(autouse=True)
async def things(connection: Connection) -> None:
    """A stream of ten messages."""
    await request(connection, "STREAM.CREATE.THINGS", STREAM, strict=True)
    for number in range(10):
        await connection.ask(f"thing.{'made' if number % 2 else 'sold'}.t-{number}", str(number).encode())


@pytest.mark.parametrize("page", [1, 3, 10, 5_000])
async def test_every_message_comes_once_whatever_the_page(connection: Connection, page: int) -> None:
    found = [(each.sequence, each.data) async for each in messages(connection, "THINGS", page=page)]
    assert found == [(number + 1, str(number).encode()) for number in range(10)]


async def test_a_reading_begins_where_it_is_told_and_takes_its_subjects_alone(connection: Connection) -> None:
    found = await read(connection, "THINGS", "thing.made.*", first=5)
    assert [each.subject for each in found] == ["thing.made.t-5", "thing.made.t-7", "thing.made.t-9"]


async def test_a_stream_that_is_not_there_is_told_from_an_empty_one(connection: Connection) -> None:
    assert await read(connection, "NONE") == []
    assert await read(connection, "THINGS", "thing.lost.*") == []
    with pytest.raises(NobodyAnswers, match="NONE"):
        [each async for each in messages(connection, "NONE")]
