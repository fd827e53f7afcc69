"""Processes that are killed at each line: what they did to their database and what they published is there once."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jetmesh.sql import Outbox
from jetmesh.testing import MeshOf
from tests.support.bookings.service import APP, Booked, Free, Moved, bookings
from tests.support.bookings.wiring import AT, DATABASE, ONCE, AnyDatabase
from tests.support.jobs import Asked, desk
from tests.support.processes import running, started

JOBS = [f"j-{number}" for number in range(20)]

RELAY = """
import asyncio, sys, jetmesh
from jetmesh.sql import Outbox
from tests.support.bookings.wiring import database_of

async def relay(url, address):
    async with jetmesh.connect(url) as mesh, database_of(address) as database:
        async with Outbox(database).relay(mesh):
            await asyncio.Event().wait()

asyncio.run(relay(*sys.argv[1:]))
"""


async def rows(database: AnyDatabase, query: str) -> list[Any]:
    """What a query finds."""
    async with database.transaction() as transaction:
        return [tuple(row) for row in await (await transaction.execute(query)).fetchall()]


@pytest.mark.parametrize("line", ["written", "added", "committed", "published"])
async def test_a_service_that_is_killed_at_a_line_did_everything_once(
    mesh_of: MeshOf, database: AnyDatabase, address: str, tmp_path: Path, line: str
) -> None:
    local = await mesh_of(desk(), bookings, start=False, JETMESH_ACK_WAIT_SECONDS="2")
    await local.start(local.services[0])
    once = tmp_path / "died"
    environment = {"NATS_URL": local.settings.nats_url, AT: line, ONCE: str(once), DATABASE: address}
    environment["JETMESH_ACK_WAIT_SECONDS"] = local.environment["JETMESH_ACK_WAIT_SECONDS"]
    with running(tmp_path, "bookings", app=APP, **environment) as first:
        for job in JOBS:
            await local.outside(Asked(job_id=job))
        assert await first.ended() == -9
    assert once.exists()
    with running(tmp_path, "bookings", app=APP, **environment):
        for job in JOBS:
            await local.recorded(Booked, job, 30)
        await local.settled(30)
        await local.deliver_again(bookings)
        await local.settled(30)

        async def all_published() -> bool:
            return await rows(database, "SELECT * FROM jetmesh_outbox") == []

        await local.until(all_published, 30, "the outbox is empty")
    assert await local.count("BOOKINGS") == len(JOBS)
    assert sorted(await rows(database, "SELECT job_id, times FROM bookings")) == sorted((job, 1) for job in JOBS)
    assert await local.dead_letters() == []


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as opened:
        yield opened


async def test_of_two_relays_one_goes_on_where_the_other_was_killed(
    mesh_of: MeshOf, database: AnyDatabase, address: str, stack: ExitStack
) -> None:
    local = await mesh_of(desk(), bookings, start=False)
    command = [sys.executable, "-c", RELAY, local.settings.nats_url, address]
    relays = [stack.enter_context(started(command, cwd=Path(__file__).parents[2])) for _ in range(2)]
    keys, steps, outbox = ["j-1", "j-2", "j-3"], 60, Outbox(database, service=bookings)

    async def add(numbers: range) -> None:
        for number in numbers:
            async with database.transaction() as transaction:
                for key in keys:
                    await outbox.add(transaction, Moved(job_id=key, step=f"s-{number}"))
                    await outbox.add(transaction, Free(name=key, count=number))

    await add(range(20))
    await local.until(lambda: local.count("BOOKINGS"), 30, "one of them publishes")
    for relay, numbers in zip(relays, (range(20, 40), range(40, 60)), strict=True):
        await add(numbers)
        relay.kill()
        relay.wait()
    stack.enter_context(started(command, cwd=Path(__file__).parents[2]))

    async def all_out() -> bool:
        return await rows(database, "SELECT * FROM jetmesh_outbox") == []

    await local.until(all_out, 30)
    page = (await local.context.direct_get.page("BOOKINGS", ">", 1, 1000)).messages
    for key in keys:
        of_key = [stored for stored in page if stored.key == key]
        assert [Moved.read(m.data).step for m in of_key if m.type == Moved.type] == [f"s-{n}" for n in range(steps)]
        assert [Free.read(m.data).count for m in of_key if m.type == Free.type] == [*range(steps)]
