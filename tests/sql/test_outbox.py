"""What is added to an outbox: published if its transaction is committed, in its trace, and what it can't be."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import jetmesh
from jetmesh import Event
from jetmesh.jetstream.headers import TRACEPARENT
from jetmesh.sql import NotInTransaction, Outbox, Postgres, SQLite, TableMissing
from jetmesh.sql import relay as relaying
from jetmesh.testing import Broker, MeshOf
from tests.support.bookings.service import Booked, Free, Gone, Moved, bookings
from tests.support.bookings.wiring import AnyDatabase, database_of
from tests.support.jobs import Asked, Dropped, desk
from tests.support.postgres import PostgresServer

SWEEPS_NEVER = 600.0


async def added(outbox: Outbox[Any], database: AnyDatabase, *events: Event) -> None:
    """Add events in one transaction."""
    async with database.transaction() as transaction:
        for event in events:
            await outbox.add(transaction, event)


async def refused(database: AnyDatabase) -> list[tuple[str, str | None]]:
    """What is in the outbox, each with the reason why it is never published."""
    async with database.transaction() as transaction:
        found = await (await transaction.execute("SELECT type, refused FROM jetmesh_outbox ORDER BY number")).fetchall()
    return [tuple(row) for row in found]


async def adds_and_fails(outbox: Outbox[Any], database: AnyDatabase, event: Event) -> None:
    """Add an event in a transaction that fails."""
    async with database.transaction() as transaction:
        await outbox.add(transaction, event)
        raise ZeroDivisionError


async def test_the_commit_wakes_the_relay_and_what_is_rolled_back_is_never_published(
    mesh_of: MeshOf, database: AnyDatabase
) -> None:
    local, outbox = await mesh_of(desk(), bookings, start=False), Outbox(database, service=bookings)
    async with outbox.relay(local.context, sweep_seconds=SWEEPS_NEVER):
        await added(outbox, database, Booked(job_id="j-1"))
        await local.recorded(Booked, "j-1")
        with pytest.raises(ZeroDivisionError):
            await adds_and_fails(outbox, database, Booked(job_id="j-never"))
        await added(outbox, database, Booked(job_id="j-2"))
        await local.recorded(Booked, "j-2")
    assert await local.count("BOOKINGS") == 2


async def test_a_program_adds_what_its_owner_checks(
    mesh_of: MeshOf, nats_broker: Broker, database: AnyDatabase
) -> None:
    local, outbox = await mesh_of(desk()), Outbox(database, source="/desk")
    async with jetmesh.connect(nats_broker.url) as mesh, outbox.relay(mesh):
        await added(outbox, database, *(Asked(job_id=f"j-{number}") for number in range(10)))
        for number in range(10):
            await local.recorded(Asked, f"j-{number}")
    page = (await local.context.direct_get.page("INTAKE", ">", 1, 100)).messages
    assert {stored.headers["ce-source"] for stored in page} == {"/desk"}
    assert len(page) == 10


async def test_the_request_that_added_it_is_the_parent(
    mesh_of: MeshOf, nats_broker: Broker, database: AnyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    local, outbox = await mesh_of(desk(), bookings, start=False), Outbox(database, service=bookings)
    with provider.get_tracer("program").start_as_current_span("request") as request:
        await added(outbox, database, Booked(job_id="j-1"))
    async with jetmesh.connect(nats_broker.url) as mesh, outbox.relay(mesh):
        await local.recorded(Booked, "j-1")
        await local.until(lambda: len(kept.get_finished_spans()) == 2)
    published = kept.get_finished_spans()[-1]
    assert published.name == "publish bookings.booked"
    assert published.parent is not None
    assert published.context is not None
    assert published.parent.span_id == request.get_span_context().span_id
    (stored,) = await local.story("j-1")
    assert stored.headers[TRACEPARENT][3:52] == f"{published.context.trace_id:032x}-{published.context.span_id:016x}"


async def test_what_can_never_be_recorded_stays_with_its_reason_and_holds_up_nothing(
    mesh_of: MeshOf, database: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    local, outbox = await mesh_of(desk(), bookings, start=False), Outbox(database, service=bookings)
    reason = "bookings.booked.j-1 was recorded before with other contents"
    same, other = Booked(job_id="j-1"), Booked(job_id="j-1", place=2)
    async with outbox.relay(local.context):
        await added(outbox, database, same, same, other, Moved(job_id="j-1", step="s-1"))
        await local.recorded(Moved, "j-1")
        await local.until(lambda: reason in caplog.text)

        async def only_it_is_left() -> bool:
            return await refused(database) == [("bookings.booked", reason)]

        await local.until(only_it_is_left)
    assert await local.count("BOOKINGS") == 2


async def test_while_the_broker_is_away_what_is_added_waits(
    mesh_of: MeshOf, nats_broker: Broker, database: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    local, outbox = await mesh_of(desk(), bookings, start=False), Outbox(database, service=bookings)
    async with outbox.relay(local.context):
        nats_broker.kill()
        await added(outbox, database, *(Free(name="hall", count=count) for count in range(5)))
        await local.until(lambda: "the outbox waits" in caplog.text)
        nats_broker.start()

        async def all_out() -> bool:
            return await refused(database) == []

        await local.until(all_out, 30)
    page = (await local.context.direct_get.page("BOOKINGS", ">", 1, 100)).messages
    assert [Free.read(stored.data).count for stored in page] == [0, 1, 2, 3, 4]


async def test_a_relay_that_was_away_records_no_old_level_over_a_newer_one(
    mesh_of: MeshOf, database: AnyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the rows and the level; meanwhile another relay publishes all of them."""
    local, outbox = await mesh_of(desk(), bookings, start=False), Outbox(database, service=bookings)
    slow = relaying.Relay(database, local.context, SWEEPS_NEVER)
    goes_on, is_asleep = asyncio.Event(), asyncio.Event()
    read = slow._read

    async def sleeps(row: relaying.OutboxRow) -> Any:
        is_asleep.set()
        await goes_on.wait()
        return await read(row)

    monkeypatch.setattr(slow, "_read", sleeps)
    await added(outbox, database, Free(name="hall", count=1), Free(name="hall", count=2))
    async with database.line() as line:
        late = asyncio.create_task(slow._pass_on(line))
        await is_asleep.wait()
        await relaying.Relay(database, local.context, SWEEPS_NEVER)._pass_on(line)
        await local.record(Free(name="hall", count=3))
        goes_on.set()
        await late
    page = (await local.context.direct_get.page("BOOKINGS", ">", 1, 100)).messages
    assert [Free.read(stored.data).count for stored in page] == [1, 2, 3]


async def test_a_relay_and_a_pool_go_on_when_their_server_is_back(
    mesh_of: MeshOf, caplog: pytest.LogCaptureFixture
) -> None:
    import psycopg

    local = await mesh_of(desk(), bookings, start=False)
    with PostgresServer() as server:
        async with Postgres(server.new_database()) as database:
            await database.create_tables()
            outbox = Outbox(database, service=bookings)
            async with outbox.relay(local.context):
                await added(outbox, database, Booked(job_id="j-1"))
                await local.recorded(Booked, "j-1")
                server.kill()
                await local.until(lambda: "the outbox waits" in caplog.text)
                server.start()

                async def is_added() -> bool:
                    try:
                        await added(outbox, database, Booked(job_id="j-2"))
                    except psycopg.OperationalError:
                        return False
                    return True

                await local.until(is_added)
                await local.recorded(Booked, "j-2")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"job_id": "j-1"}, "{'job_id': 'j-1'} is no event: add an instance of an event's class"),
        (Dropped(job_id="j-1"), "Dropped: only jobs records jobs.dropped; add an event that is declared `from_outside"),
        (
            Gone(job_id="j-1"),
            "Gone: no reaction of bookings says that it may record bookings.gone; name it in ",
        ),
    ],
    ids=["a dictionary", "another's event", "an event of no reaction"],
)
async def test_what_may_not_be_added_is_an_error(database: AnyDatabase, event: Any, words: str) -> None:
    async with database.transaction() as transaction:
        with pytest.raises(TypeError) as wrong:
            await Outbox(database, service=bookings).add(transaction, event)
    assert words in str(wrong.value)


async def test_what_is_no_transaction_is_an_error(database: AnyDatabase) -> None:
    outbox, event = Outbox(database, service=bookings), Booked(job_id="j-1")
    with pytest.raises(NotInTransaction, match=r"None is no connection .* `inbox.transaction\(…\)`"):
        await outbox.add(None, event)
    async with database.transaction() as transaction:
        pass
    if isinstance(database, SQLite):
        with pytest.raises(NotInTransaction, match="in no transaction"):
            await outbox.add(transaction, event)


async def test_a_connection_that_commits_each_statement_is_an_error(postgres_server: PostgresServer) -> None:
    import psycopg

    url = postgres_server.new_database()
    async with Postgres(url) as database, await psycopg.AsyncConnection.connect(url, autocommit=True) as own:
        await database.create_tables()
        outbox = Outbox(database, service=bookings)
        with pytest.raises(NotInTransaction, match="in no transaction"):
            await outbox.add(own, Booked(job_id="j-1"))
        async with own.transaction():
            await outbox.add(own, Booked(job_id="j-1"))
        assert await refused(database) == [("bookings.booked", None)]


async def test_a_missing_table_is_named_with_the_statement_that_makes_it(
    address: str, mesh_of: MeshOf, caplog: pytest.LogCaptureFixture
) -> None:
    local = await mesh_of(desk(), bookings, start=False)
    async with database_of(address) as database:
        outbox = Outbox(database, service=bookings)
        with pytest.raises(TableMissing, match=r"no table jetmesh_outbox.*create_tables") as missing:
            await added(outbox, database, Booked(job_id="j-1"))
        async with outbox.relay(local.context):
            with caplog.at_level(logging.ERROR):
                await local.until(lambda: "no table jetmesh_outbox" in caplog.text)
            async with database.transaction() as transaction:
                await transaction.execute(str(missing.value).partition("\n")[2])
            await added(outbox, database, Booked(job_id="j-1"))
            await local.recorded(Booked, "j-1")


async def test_a_database_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    for database, words in (
        (SQLite(tmp_path / "nowhere" / "bookings.db"), "bookings.db: unable to open .* its folder must be there"),
        (Postgres("postgresql://127.0.0.1:1/bookings"), "PostgreSQL does not let us in: .*127.0.0.1"),
    ):
        with pytest.raises(ConnectionError, match=words):
            async with database:
                pytest.fail("it is not there")
    with pytest.raises(ValueError, match="takes the path of a file"):
        SQLite(":memory:")
