"""A delivery changes the database once: however often it comes, to how many processes, and whatever fails."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jetmesh.sql import Inbox, Outbox, TableMissing
from jetmesh.testing import MeshOf
from tests.support.bookings.service import BOOK, Booked, Bookings, bookings
from tests.support.bookings.wiring import AnyDatabase, database_of
from tests.support.jobs import Asked, desk

Rows = list[tuple[Any, ...]]


@dataclass
class Arrived:
    """A delivery."""

    id: str = "e-1"
    source: str = "/jetmesh/jobs"
    event: Any = None
    service: str = "bookings"
    reaction: str = "book"
    key: str = "j-1"
    delivered: int = 1
    traceparent: str = ""
    stream: str = "JOBS"
    sequence: int = 7
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        return {"ce-source": self.source}


async def rows(database: AnyDatabase, query: str) -> Rows:
    """What a query finds."""
    async with database.transaction() as transaction:
        return [tuple(row) for row in await (await transaction.execute(query)).fetchall()]


async def handled(inbox: Inbox[Any], delivery: Arrived, *, name: str = "", fails: bool = False) -> bool:
    """Book what arrived, if that was not done."""
    async with inbox.transaction(delivery, name=name) as transaction:
        if transaction:
            await transaction.execute(BOOK.format(delivery.key))
        if fails:
            raise ZeroDivisionError
        return transaction is not None


async def test_what_comes_to_many_at_once_is_handled_by_one(database: AnyDatabase) -> None:
    inbox: Inbox[Any] = Inbox(database)
    assert sum(await asyncio.gather(*(handled(inbox, Arrived()) for _ in range(20)))) == 1
    assert await rows(database, "SELECT * FROM bookings") == [("j-1", 1)]
    place = await rows(database, "SELECT reaction, source, id, stream, sequence FROM jetmesh_inbox")
    assert place == [("bookings.book", "/jetmesh/jobs", "e-1", "JOBS", 7)]


async def test_what_fails_is_rolled_back_and_handled_again(database: AnyDatabase) -> None:
    inbox: Inbox[Any] = Inbox(database)
    with pytest.raises(ZeroDivisionError):
        await handled(inbox, Arrived(), fails=True)
    assert await rows(database, "SELECT * FROM bookings") == []
    assert await handled(inbox, Arrived())


async def test_a_task_that_is_cancelled_leaves_nothing_and_holds_up_nobody(database: AnyDatabase) -> None:
    inbox: Inbox[Any] = Inbox(database)
    begun = asyncio.Event()

    async def stuck() -> None:
        async with inbox.transaction(Arrived()):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await handled(inbox, Arrived())


async def test_another_reaction_publisher_or_event_is_another_delivery(database: AnyDatabase) -> None:
    inbox: Inbox[Any] = Inbox(database)
    assert await handled(inbox, Arrived())
    assert await handled(inbox, Arrived(reaction="count"))
    assert await handled(inbox, Arrived(source="/van"))
    assert await handled(inbox, Arrived(id="e-2"))
    assert not await handled(inbox, Arrived(stream="JOBS-1", sequence=1))


async def test_a_renamed_reaction_goes_on_under_its_old_name(database: AnyDatabase) -> None:
    inbox: Inbox[Any] = Inbox(database)
    assert await handled(inbox, Arrived())
    assert not await handled(inbox, Arrived(reaction="reserve"), name="book")


async def test_what_is_old_is_forgotten(database: AnyDatabase) -> None:
    inbox: Inbox[Any] = Inbox(database)
    await handled(inbox, Arrived())
    assert await inbox.forget(timedelta(days=1)) == 0
    assert await inbox.forget(timedelta()) == 1
    assert await handled(inbox, Arrived())


async def test_a_missing_table_is_named(address: str) -> None:
    async with database_of(address) as database:
        with pytest.raises(TableMissing, match=r"no table jetmesh_inbox[\s\S]*CREATE TABLE .* jetmesh_inbox"):
            await handled(Inbox(database), Arrived())


async def test_two_replicas_book_each_job_once_while_everything_is_delivered_twice(
    mesh_of: MeshOf, database: AnyDatabase
) -> None:
    inbox: Inbox[Any] = Inbox(database)
    outbox: Outbox[Any] = Outbox(database, service=bookings)
    deps = Bookings(inbox, outbox, lambda _line: None)
    local = await mesh_of(desk(), bookings, dependencies=[deps])
    async with outbox.relay(local.context):
        await local.start(bookings)
        for number in range(50):
            await local.outside(Asked(job_id=f"j-{number}"))
        await local.settled()
        await local.deliver_again(bookings)
        await local.settled()
        for number in range(50):
            await local.recorded(Booked, f"j-{number}")
    assert {times for _, times in await rows(database, "SELECT * FROM bookings")} == {1}
    assert await local.count("BOOKINGS") == 50
    (stored,) = (stored for stored in await local.story("j-1") if stored.type == "bookings.booked")
    (asked,) = (stored for stored in await local.story("j-1") if stored.type == "jobs.asked")
    assert stored.headers["ce-causationid"] == asked.headers["ce-id"]
