"""What tests of all rooms ask for."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from jetmesh import Service
from jetmesh.jetstream.connection import Connection
from jetmesh.runtime import one_by_one
from jetmesh.testing import Broker
from tests.support import browser, jobs


@pytest.fixture
def broker(nats_broker: Broker) -> Broker:
    """A nats-server of the test's own."""
    return nats_broker


@pytest_asyncio.fixture
async def connection(broker: Broker) -> AsyncIterator[Connection]:
    """To that broker, with nothing on it."""
    opened = Connection()
    await opened.open(broker.url, "test")
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def browsing() -> AsyncIterator[browser.Browsing]:
    """A real Chromium, whose complaints fail the test."""
    async with browser.browsing() as opened:
        yield opened


@pytest.fixture
def finishing() -> Service:
    """A service that finishes every job."""
    return jobs.finishing()


@pytest.fixture
def brief_pause_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries that may be in other hands after a crash of the broker come again at once: the pause is not tested."""
    monkeypatch.setattr(one_by_one, "PAUSE_SECONDS", 0.2)
