"""What the client's tests stand on."""

from collections.abc import AsyncIterator

import pytest_asyncio

from jetmesh.jetstream.connection import Connection
from jetmesh.testing.broker import Broker


@pytest_asyncio.fixture
async def connection(broker: Broker) -> AsyncIterator[Connection]:
    opened = Connection()
    await opened.open(broker.url, "test")
    yield opened
    await opened.close()
