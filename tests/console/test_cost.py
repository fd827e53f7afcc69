"""What the console costs the broker: nothing while nobody looks, and no more for a hundred who look than for one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import nats
import pytest_asyncio

from jetmesh.testing import Broker
from tests.console.conftest import ConsoleOf
from tests.support.tollgate import tollgate

VIEWERS = 100
SECONDS = 3.0
FRAMES_A_SECOND_MAX = 10
READINGS = "$SRV.STATS.tolls"
"""One of these is sent for each reading."""


class Wire:
    """Everything that is sent to the broker, beside answers."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def sent_within(self, seconds: float) -> list[str]:
        """What is sent in this time: what is counted is what happens in it, so it is waited for."""
        before = len(self.subjects)
        await asyncio.sleep(seconds)
        return self.subjects[before:]


@pytest_asyncio.fixture
async def wire(broker: Broker) -> AsyncIterator[Wire]:
    """Nobody but the console uses the broker."""
    client, heard = await nats.connect(broker.url), Wire()

    async def hear(message: object) -> None:
        heard.subjects.append(message.subject)  # type: ignore[attr-defined]

    for subject in ("$JS.API.>", "$SRV.>"):
        await client.subscribe(subject, cb=hear)
    await client.flush()
    try:
        yield heard
    finally:
        await client.close()


async def _frames(browser: httpx.AsyncClient, seconds: float, begun: asyncio.Event | None = None) -> int:
    """How many events a viewer gets in this time."""
    count, until = 0, time.monotonic() + seconds
    async with browser.stream("GET", "/mesh/live") as answer:
        async for line in answer.aiter_lines():
            if begun:
                begun.set()
            count += line.startswith("data:")
            if time.monotonic() > until:
                return count
    return count


async def test_nothing_is_read_while_nobody_looks(console_of: ConsoleOf, wire: Wire) -> None:
    browser = await console_of([tollgate()])
    assert (await browser.get("/mesh")).status_code == 200
    await _frames(browser, 0.1)
    assert READINGS in wire.subjects
    await wire.sent_within(1.5)  # the reading that was under way
    assert await wire.sent_within(SECONDS) == []


async def test_a_hundred_who_look_cost_the_broker_what_one_does(console_of: ConsoleOf, wire: Wire) -> None:
    browser = await console_of([tollgate()])

    async def cost(viewers: int) -> int:
        async with _looking(browser, viewers):
            return (await wire.sent_within(SECONDS)).count(READINGS)

    alone = await cost(1)
    together = await cost(VIEWERS)
    assert 0 < alone <= SECONDS * 2 + 1
    assert together <= SECONDS * 2 + 1


@asynccontextmanager
async def _looking(browser: httpx.AsyncClient, viewers: int) -> AsyncIterator[None]:
    """So many streams of events are open for the block."""
    limits = httpx.Limits(max_connections=viewers)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=browser.base_url, timeout=30, limits=limits)
        )
        begun = [asyncio.Event() for _ in range(viewers)]
        tasks = [asyncio.create_task(_frames(client, 600, each)) for each in begun]
        try:
            await asyncio.gather(*(each.wait() for each in begun))
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_viewer_gets_at_most_ten_frames_a_second(console_of: ConsoleOf) -> None:
    browser = await console_of([tollgate()])
    assert 0 < await _frames(browser, SECONDS) <= FRAMES_A_SECOND_MAX * SECONDS
