"""A read model's next version is built beside the one that is read, takes over when it has caught up, and nothing is
lost or counted twice, wherever a process dies."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetmesh import Service
from jetmesh.sql import Projection, ProjectionError, TableMissing
from jetmesh.sql.projection import CatchingUp, drop_version, projections
from jetmesh.testing import LocalMesh, MeshOf
from tests.sql.test_inbox import Arrived, rows
from tests.support.bookings.wiring import AnyDatabase, database_of
from tests.support.counts.service import APP, COUNT, TABLES, Counts, counting
from tests.support.counts.wiring import AT, DATABASE, ONCE, open_counts
from tests.support.jobs import Asked, desk
from tests.support.processes import running

JOBS = [f"{letter}-{number}" for number in range(10) for letter in "ab"]


def version(database: AnyDatabase, number: int) -> Projection[Any]:
    return Projection(database, "counts", version=number, tables=TABLES[number])


async def ask(mesh: LocalMesh, *jobs: str) -> None:
    for job in jobs:
        await mesh.outside(Asked(job_id=job))


async def read_version(database: AnyDatabase, knows: int = 2) -> int:
    async with version(database, knows).read() as (_, found):
        return found


async def test_the_next_version_is_built_beside_the_one_that_is_read(mesh_of: MeshOf, database: AnyDatabase) -> None:
    first, both = counting(1), counting(1, 2)
    mesh = await mesh_of(desk(), first, start=False)
    await mesh.start(mesh.services[0])
    await ask(mesh, *JOBS)
    async with open_counts(mesh.context, first, database) as dependencies:
        older = await mesh_of(first, dependencies=[dependencies])
        await older.settled()
    assert await rows(database, "SELECT * FROM counts_v1 ORDER BY letter") == [("a", 10), ("b", 10)]
    assert await read_version(database) == 1

    async with open_counts(mesh.context, both, database) as dependencies:
        assert await read_version(database) == 1
        assert (await projections(database))["counts"][1].state == "building"
        newer = await mesh_of(both, dependencies=[dependencies])
        await newer.until(lambda: _is_read(database, 2), 30)
        await ask(mesh, "a-10")
        await newer.settled()
        await newer.deliver_again(both)
        await newer.settled()
    assert await rows(database, "SELECT letter, jobs FROM counts_v2 ORDER BY letter") == [("a", 11), ("b", 10)]
    assert await rows(database, "SELECT * FROM counts_v1 ORDER BY letter") == [("a", 11), ("b", 10)]
    assert await read_version(database, knows=1) == 1  # a process of the version before goes on with its own
    one, two = (await projections(database))["counts"]
    assert (one.reaction, one.state, one.is_read) == ("counts.count_1", "built", False)
    assert (two.reaction, two.state, two.is_read) == ("counts.count_2", "built", True)

    assert await drop_version(database, "counts", 1) == ["counts_v1"]
    with pytest.raises(Exception, match="counts_v1"):
        await rows(database, "SELECT * FROM counts_v1")
    notes = await rows(database, "SELECT DISTINCT reaction FROM jetmesh_inbox")
    assert notes == [("projection counts 2",)]
    assert await mesh.dead_letters() == []


async def _is_read(database: AnyDatabase, number: int) -> bool:
    return await read_version(database) == number


async def test_a_database_that_fails_when_a_version_is_built_delays_it(
    mesh_of: MeshOf, database: AnyDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    both = counting(1, 2)
    mesh = await mesh_of(desk(), start=False)  # without the durables: a version that caught up now would take over
    async with open_counts(mesh.context, both, database) as dependencies:
        await rename(database, "jetmesh_projections", "elsewhere")
        newer = await mesh_of(both, dependencies=[dependencies])
        await newer.until(lambda: "version 2 of the projection counts waits to be read" in caplog.text, 30)
        await rename(database, "elsewhere", "jetmesh_projections")
        await newer.until(lambda: _is_read(database, 2), 30)


async def rename(database: AnyDatabase, table: str, name: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(f"ALTER TABLE {table} RENAME TO {name}")


@pytest.mark.parametrize("line", ["begun", "written", "committed", "built", "switched"])
async def test_a_process_that_is_killed_at_a_line_leaves_a_version_that_is_whole(
    mesh_of: MeshOf, database: AnyDatabase, address: str, tmp_path: Path, line: str
) -> None:
    local = await mesh_of(desk(), counting(1, 2), start=False, JETMESH_ACK_WAIT_SECONDS="2")
    await local.start(local.services[0])
    once = tmp_path / "died"
    environment = {"NATS_URL": local.settings.nats_url, AT: line, ONCE: str(once), DATABASE: address}
    environment["JETMESH_ACK_WAIT_SECONDS"] = local.environment["JETMESH_ACK_WAIT_SECONDS"]
    await ask(local, *JOBS)
    with running(tmp_path, "counts", app=APP, **environment) as first:
        assert await first.ended() == -9
    assert once.exists()
    assert await _version_or_none(database) in (None, 1)
    with running(tmp_path, "counts", app=APP, **environment):
        await local.until(lambda: _is_read(database, 2), 30)
        await local.settled(30)
        assert await rows(database, "SELECT letter, jobs FROM counts_v2 ORDER BY letter") == [("a", 10), ("b", 10)]
        assert await rows(database, "SELECT letter, jobs FROM counts_v1 ORDER BY letter") == [("a", 10), ("b", 10)]
    assert await local.dead_letters() == []


async def _version_or_none(database: AnyDatabase) -> int | None:
    found = await rows(database, "SELECT version FROM jetmesh_projections")
    return found[0][0] if found else None


async def test_a_version_that_is_read_is_not_dropped(database: AnyDatabase) -> None:
    await version(database, 1).create()
    with pytest.raises(ProjectionError, match="version 1 of the projection counts is read: let a later one take over"):
        await drop_version(database, "counts", 1)
    with pytest.raises(ProjectionError, match="the projection counts has no version 2; there are 1"):
        await drop_version(database, "counts", 2)


async def test_a_version_that_was_dropped_takes_nothing_and_is_not_made_again(database: AnyDatabase) -> None:
    one, two = version(database, 1), version(database, 2)
    await one.create()
    await two.create()
    assert await two.take_over()
    assert not await two.take_over()
    await drop_version(database, "counts", 1)
    async with one.transaction(Arrived()) as transaction:
        assert transaction is None
    with pytest.raises(ProjectionError, match="version 1 of the projection counts was dropped: declare a later one"):
        await one.create()


async def test_an_older_version_does_not_take_over(database: AnyDatabase) -> None:
    for number in (1, 2):
        await version(database, number).create()
    await version(database, 2).take_over()
    assert not await version(database, 1).take_over()
    assert await read_version(database) == 2


async def test_many_processes_make_a_version_at_once(database: AnyDatabase) -> None:
    await asyncio.gather(*(version(database, 1).create() for _ in range(8)))
    assert [each.state for each in (await projections(database))["counts"]] == ["building"]


async def test_a_delivery_feeds_each_version_once(database: AnyDatabase) -> None:
    delivery = Arrived()
    for number in (1, 2, 1, 2):
        one = version(database, number)
        await one.create()
        async with one.transaction(delivery) as transaction:
            if transaction:
                query = COUNT if number == 1 else "INSERT INTO {0} VALUES ('{1}', 1, 'j-1')"
                await transaction.execute(query.format(one.table("counts"), "j"))
    assert await rows(database, "SELECT jobs FROM counts_v1") == [(1,)]
    assert await rows(database, "SELECT jobs FROM counts_v2") == [(1,)]


async def test_a_database_without_the_tables_says_how_they_are_made(address: str) -> None:
    async with database_of(address) as database:
        with pytest.raises(TableMissing, match="no table jetmesh_projections"):
            await version(database, 1).create()


def feeding(name: str, **options: Any) -> tuple[Service, Callable[..., Any]]:
    async def feed(asked: Asked, deps: Counts) -> None:
        """A job was asked for: count it."""

    feed.__name__ = name
    service = Service("counts", Counts)
    service.on(**options)(feed)
    return service, feed


async def test_what_could_not_build_a_version_is_refused(mesh_of: MeshOf, database: AnyDatabase) -> None:
    mesh = await mesh_of(desk(), start=False)
    for number in (1, 2):
        await version(database, number).create()
    service, feed = feeding("feed", since="beginning")
    async with version(database, 1).taking_over(mesh.context, service, feed):
        pass
    with pytest.raises(ProjectionError, match=r"counts\.feed fed version 1 of .* a name of its own"):
        async with version(database, 2).taking_over(mesh.context, service, feed):
            pass
    late, feed_late = feeding("feed_late")
    with pytest.raises(ProjectionError, match=r'counts.feed_late .*`@counts.on\(since="beginning"\)`'):
        async with version(database, 2).taking_over(mesh.context, late, feed_late):
            pass
    with pytest.raises(ProjectionError, match="counts has no reaction feed_late"):
        async with version(database, 2).taking_over(mesh.context, service, feed_late):
            pass


@pytest.mark.parametrize(
    ("name", "number", "tables", "why"),
    [
        ("Counts", 1, {"counts": "n int"}, r"Projection\(name='Counts'\): small letters"),
        ("counts", 1, {"the counts": "n int"}, r"Projection\(tables='the counts'\): small letters"),
        ("counts", 0, {"counts": "n int"}, r"Projection\('counts', version=0\): 1 to 9999"),
        ("counts", 1, {}, "name at least one table"),
    ],
)  # fmt: skip
def test_a_projection_that_is_declared_wrongly_says_what(
    name: str, number: int, tables: dict[str, str], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Projection(None, name, version=number, tables=tables)  # type: ignore[arg-type]


def durable(pending: int, delivered: int, floor: int, unacknowledged: int) -> dict[str, Any]:
    return {
        "num_pending": pending, "num_ack_pending": unacknowledged,
        "delivered": {"stream_seq": delivered}, "ack_floor": {"stream_seq": floor},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("polls", "is_done"),
    [
        ([None], False),
        ([durable(0, 0, 0, 0)], True),
        ([durable(5, 10, 10, 0)], False),
        ([durable(0, 15, 10, 5)], False),
        ([durable(0, 15, 10, 5), durable(3, 20, 14, 6)], False),
        ([durable(0, 15, 10, 5), durable(3, 20, 15, 5)], True),
        ([durable(0, 15, 10, 5), durable(9, 15, 15, 0)], True),
    ],
    ids=["no durable", "empty", "more to come", "in flight", "still in flight", "busy", "handled"],
)  # fmt: skip
def test_a_busy_stream_lets_a_version_catch_up(polls: list[Any], is_done: bool) -> None:
    progress = CatchingUp()
    assert [progress.is_done(info) for info in polls][-1] == is_done


def test_a_table_that_the_projection_does_not_have_is_named() -> None:
    one: Projection[Any] = Projection(None, "counts", version=1, tables=TABLES[1])  # type: ignore[arg-type]
    assert (one.table("counts"), one.table("counts", 2)) == ("counts_v1", "counts_v2")
    with pytest.raises(LookupError, match="the projection counts has no table 'sums'; there are counts"):
        one.table("sums")
