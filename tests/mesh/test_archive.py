"""The retention job on the real broker: what stays and why, what a crash leaves behind, and what an archive refuses."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.history import History, Restoration
from jetmesh.jetstream.api import request
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.group_commit import GroupCommit
from jetmesh.jetstream.subject import marker_subject
from jetmesh.jetstream.transport import answer_inbox
from jetmesh.operate.archive import job as jobs
from jetmesh.operate.archive import marker, parquet
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.parquet import Archive, ArchiveError
from jetmesh.operate.archive.purge import PurgeFilter, archived_until
from jetmesh.operate.archive.report import Report
from jetmesh.operate.archive.row import Row, as_stored
from jetmesh.runtime import dead_letter, delayed_redelivery
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh.topology.partitions import names, partition_of
from jetmesh.topology.provision import Change, plan
from jetmesh.topology.streams import Topology
from jetmesh_contracts import (
    Event,
    OrderCancellationRequested,
    OrderGoodsSecured,
    StockLevel,
)
from jetmesh_shop.flow import SERVICES
from tests.mesh.routing import PARTITIONS, SPLIT, routing_broker
from tests.support.programs import ROOT
from tests.support.samples import authorized, captured, confirmed, placed, reserved

STREAMS = ("INTAKE", "ORDERS", "PAYMENTS", "INVENTORY", "DELIVERY", "NOTIFICATIONS")


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    """The reference mesh's streams, without anybody who reads them."""
    return await unread(await mesh_of(*SERVICES, start=False))


@pytest.fixture
async def split(tmp_path: Path) -> AsyncIterator[LocalMesh]:
    """The same, with two streams in two partitions each."""
    with routing_broker(tmp_path, SPLIT) as broker:
        async with LocalMesh(SERVICES, (), {"NATS_URL": broker.url, "JETMESH_PARTITIONS": PARTITIONS}) as mesh:
            yield await unread(mesh)


async def unread(mesh: LocalMesh) -> LocalMesh:
    """Without the services' durables, which would wait for their services."""
    for consumer in mesh.topology.consumers:
        await request(mesh.context.connection, f"CONSUMER.DELETE.{consumer.stream}.{consumer.durable}", strict=True)
    return mesh


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def story(order_id: str) -> list[Event]:
    """An order that went well."""
    order = placed(order_id)
    return [
        order, authorized(order), reserved(order), OrderGoodsSecured(order_id=order_id), confirmed(order),
        captured(order_id),
    ]  # fmt: skip


async def tell(mesh: LocalMesh, *events: Event) -> int:
    """Record events; the last one's sequence."""
    return [await mesh.record(event) for event in events][-1]


async def run(mesh: LocalMesh, archive: Archive, until: datetime | None = None, *, dry_run: bool = False) -> Report:
    job = Job(mesh.context.connection, SERVICES, archive, lambda _: None, mesh.settings.split)
    with archive.held():
        return await job.run(until or datetime.now(UTC), dry_run=dry_run)


async def here(mesh: LocalMesh) -> set[str]:
    """The subjects in all streams."""
    found: set[str] = set()
    for stream in (name for whole in STREAMS for name in names(whole, mesh.settings.split)):
        info = await request(mesh.context.connection, f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        found |= set(info["state"].get("subjects") or {})
    return found


def subjects(archive: Archive) -> list[str]:
    return sorted(row.subject for row in archive.all())


def left(order_id: str) -> set[str]:
    """What stays of an order that went well."""
    return {marker_subject(entity, order_id) for entity in ("orders", "payments", "inventory")}


async def test_a_story_leaves_down_to_a_marker_for_each_owner(mesh: LocalMesh, archive: Archive) -> None:
    await mesh.outside(placed("o-1"))
    await tell(mesh, *story("o-1"))
    report = await run(mesh, archive)
    assert await here(mesh) == left("o-1")
    assert len(subjects(archive)) == 7
    assert report.document()["streams"]["ORDERS"] == {
        "ended": 3, "written": 3, "purged": 3, "forgotten": 0
    }  # fmt: skip
    assert await archived_until(mesh.context.connection, "ORDERS") == report.until
    assert not await archived_until(mesh.context.connection, "NOTIFICATIONS")
    steps = await plan(mesh.context.connection, Topology(mesh.topology.streams, ()))
    assert {step.change for step in steps} == {Change.KEEP}


async def test_a_marker_says_which_endings_there_were(mesh: LocalMesh, archive: Archive) -> None:
    await tell(mesh, *story("o-1"))
    (confirmed_at,) = [stored for stored in await mesh.story("o-1") if stored.type == "orders.confirmed"]
    await run(mesh, archive)
    (left_there,) = await mesh.context.direct_get.last("ORDERS", ["orders.*.o-1"])
    (ending,) = left_there.endings()
    assert (ending.subject, ending.sequence) == ("orders.confirmed.o-1", confirmed_at.sequence)
    assert ending.time[:19] == confirmed_at.time[:19]
    assert len(left_there.data) < 70


async def test_a_story_of_which_only_endings_are_left_gets_its_markers(mesh: LocalMesh, archive: Archive) -> None:
    """As archives of before left them."""
    await tell(mesh, *story("o-1"))
    await run(mesh, archive, dry_run=True)
    for stream, subject in [("ORDERS", "orders.placed.*"), ("ORDERS", "orders.goods_secured.*"),
                            ("PAYMENTS", "payments.authorized.*")]:  # fmt: skip
        await request(mesh.context.connection, f"STREAM.PURGE.{stream}", {"filter": subject}, strict=True)
    await run(mesh, archive)
    assert await here(mesh) == left("o-1")


async def test_a_story_that_goes_on_while_it_is_archived_stays(
    mesh: LocalMesh, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its archived part is added to by the next run."""
    await tell(mesh, *story("o-1"), *story("o-2"))
    marked = marker.mark_ended

    async def late(group_commit: GroupCommit, whole: Any, endings: Any) -> bool:
        if whole[0].key == "o-1":
            await tell(mesh, OrderCancellationRequested(order_id="o-1"))
        return await marked(group_commit, whole, endings)

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "mark_ended", late)
        await run(mesh, archive)
    assert {f"{type(event).type}.o-1" for event in story("o-1")} <= await here(mesh)
    assert left("o-2") <= await here(mesh)
    await run(mesh, archive)
    assert await here(mesh) == left("o-1") | left("o-2")
    assert len(subjects(archive)) == 13


async def test_markers_leave_after_a_declared_time(mesh: LocalMesh, archive: Archive) -> None:
    await tell(mesh, *story("o-1"))
    await run(mesh, archive)
    between = datetime.now(UTC)
    await tell(mesh, *story("o-2"))
    await run(mesh, archive)
    job = Job(mesh.context.connection, SERVICES, archive, lambda _: None, mesh.settings.split, between)
    with archive.held():
        report = await job.run(datetime.now(UTC))
    assert await here(mesh) == left("o-2")
    assert {name: stream.forgotten for name, stream in report.streams.items()} == {
        "INTAKE": 0, "ORDERS": 1, "PAYMENTS": 1, "INVENTORY": 1, "DELIVERY": 0, "NOTIFICATIONS": 0
    }  # fmt: skip
    status, said = await jetmesh(
        mesh, "archive", "--older-than", "0s", "--forget-after", "0s", "--to", str(archive.folder), "--json"
    )
    assert (status, json.loads(said)["streams"]["ORDERS"]["forgotten"]) == (0, 1)
    assert await here(mesh) == set()
    assert len(subjects(archive)) == 12


async def test_a_trial_changes_nothing(mesh: LocalMesh, archive: Archive) -> None:
    await tell(mesh, *story("o-1"))
    before = await here(mesh)
    report = await run(mesh, archive, dry_run=True)
    assert (report.stories, await here(mesh), archive.all()) == (1, before, [])


async def test_what_has_not_ended_stays_between_what_has(mesh: LocalMesh, archive: Archive) -> None:
    for order_id in ("o-1", "o-2", "o-3"):
        await tell(mesh, *(story(order_id)[:5] if order_id == "o-2" else story(order_id)))
    await mesh.outside(placed("o-4"))
    await mesh.publish("orders.placed", b"not JSON")
    report = await run(mesh, archive)
    whole = {f"{type(event).type}.o-2" for event in story("o-2")[:5]}
    assert await here(mesh) == left("o-1") | left("o-3") | whole | {"orders.placed"}
    assert await mesh.count("INTAKE") == 2
    assert report.reasons == {jobs.NOT_ENDED: 2, jobs.STRANGE: 1}


async def test_what_ended_lately_stays(mesh: LocalMesh, archive: Archive) -> None:
    await tell(mesh, *story("o-1")[:5])
    until = datetime.now(UTC)
    await tell(mesh, captured("o-1"))
    report = await run(mesh, archive, until)
    assert (report.reasons, archive.all()) == ({jobs.YOUNG: 1}, [])


async def test_what_any_durable_has_not_acknowledged_stays(mesh: LocalMesh, archive: Archive) -> None:
    await listen(mesh, "ORDERS")
    await tell(mesh, *story("o-1"))
    report = await run(mesh, archive)
    assert report.reasons == {"is not acknowledged by ORDERS/others": 1}
    await acknowledge(mesh, "ORDERS")
    assert (await run(mesh, archive)).stories == 1


async def listen(mesh: LocalMesh, stream: str) -> None:
    """Another team wants to know what is placed."""
    config = {"durable_name": "others", "ack_policy": "explicit", "filter_subject": "orders.placed.*"}
    body = {"stream_name": stream, "config": config}
    await request(mesh.context.connection, f"CONSUMER.CREATE.{stream}.others", body, strict=True)


async def acknowledge(mesh: LocalMesh, stream: str) -> None:
    """That team has dealt with the next of it."""
    connection, replies = mesh.context.connection, list[str]()
    async with answer_inbox(connection, lambda _subject, reply, _headers, _data: replies.append(reply)) as inbox:
        connection.send(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.others", b"", reply=inbox)
        await mesh.until(lambda: replies)
    await connection.ask(replies[0], b"+ACK")


async def test_of_a_split_stream_each_partition_is_archived_by_its_own_durables(
    split: LocalMesh, archive: Archive
) -> None:
    first, second = (next(f"o-{n}" for n in range(9) if partition_of(f"o-{n}", 2) == number) for number in range(2))
    await listen(split, "ORDERS-0")
    await listen(split, "ORDERS-1")
    for order_id in (first, second):
        await split.outside(placed(order_id))
        await tell(split, *story(order_id))
    await acknowledge(split, "ORDERS-1")
    report = await run(split, archive)
    assert report.reasons == {"is not acknowledged by ORDERS-0/others": 1}
    assert {row.key for row in archive.all()} == {second}
    assert await archived_until(split.context.connection, "ORDERS-1") == report.until
    assert not await archived_until(split.context.connection, "ORDERS-0")
    await acknowledge(split, "ORDERS-0")
    assert (await run(split, archive)).document()["streams"]["PAYMENTS-0"] == {
        "ended": 2, "written": 2, "purged": 2, "forgotten": 0
    }  # fmt: skip
    assert await here(split) == left(first) | left(second)
    assert len(subjects(archive)) == 14


async def test_of_a_split_stream_what_has_not_ended_stays_between_what_has(split: LocalMesh, archive: Archive) -> None:
    open_orders = {"o-2", "o-3", "o-5"}
    orders = {f"o-{number}" for number in range(12)}
    assert {partition_of(order_id, 2) for order_id in open_orders} == {0, 1}
    for order_id in sorted(orders):
        await tell(split, *(story(order_id)[:5] if order_id in open_orders else story(order_id)))
    report = await run(split, archive)
    whole = {f"{type(event).type}.{order_id}" for order_id in open_orders for event in story(order_id)[:5]}
    ended = orders - open_orders
    assert (report.stories, report.reasons) == (len(ended), {jobs.NOT_ENDED: len(open_orders)})
    assert await here(split) == whole.union(*map(left, ended))


async def test_the_commands_on_a_split_stream_need_to_know_that_it_is_split(split: LocalMesh, archive: Archive) -> None:
    await tell(split, *story("o-1"))
    folder = str(archive.folder)
    for wrong, command in [
        ("", ["archive", "--older-than", "0s", "--to", folder]),
        ("orders=3,payments=2", ["archive", "--older-than", "0s", "--to", folder]),
        ("orders=2", ["order", "o-1"]),
        ("payments=2", ["audit"]),
    ]:
        status, said = await jetmesh(split, *command, JETMESH_PARTITIONS=wrong)
        assert (status, "settings: JETMESH_PARTITIONS: the broker" in said) == (2, True), said
    assert not archive.exists
    status, said = await jetmesh(split, "archive", "--older-than", "0s", "--to", folder, "--json")
    assert (status, json.loads(said)["stories"]) == (0, 1)
    status, said = await jetmesh(split, "order", "o-1", "--archive", folder)
    assert f"6 of its 6 events are from the archive in {folder}" in said
    status, said = await jetmesh(split, "audit", "--archive", folder, "--json")
    assert ", but was never placed" not in said
    status, said = await jetmesh(split, "audit", "--state", str(archive.folder.parent / "elsewhere"))
    assert "name it with JETMESH_ARCHIVE" in said


async def test_what_is_set_aside_or_a_dead_letter_stays(mesh: LocalMesh, archive: Archive) -> None:
    publisher = mesh.context.publisher
    for order_id in ("o-1", "o-2"):
        sequence = await tell(mesh, *story(order_id))
        delivery = RawDelivery(f"payments.captured.{order_id}", {}, b"{}", "", "PAYMENTS", sequence, 1, 1.0)
        if order_id == "o-1":
            await delayed_redelivery.delay(publisher, "notifications", "thank", delivery, 3_600, attempts=1)
        else:
            await dead_letter.store(publisher, "notifications", "thank", delivery, ValueError("no"))
    report = await run(mesh, archive)
    assert (set(report.reasons.values()), len(report.reasons), archive.all()) == ({1}, 2, [])


async def test_of_a_level_the_newest_stays(mesh: LocalMesh, archive: Archive) -> None:
    for sku, available in [("cola", 9), ("tiramisu", 1), ("cola", 8), ("cola", 7)]:
        await tell(mesh, StockLevel(sku=sku, available=available))
    await run(mesh, archive)
    assert await mesh.count("INVENTORY") == 2
    assert (await mesh.recorded(StockLevel, "cola")).available == 7
    assert [json.loads(row.data)["available"] for row in archive.of(["cola"])] == [9, 8]


async def test_what_comes_about_an_archived_story_is_added_to_it(mesh: LocalMesh, archive: Archive) -> None:
    await tell(mesh, *story("o-1"))
    await run(mesh, archive)
    before = subjects(archive)
    await tell(mesh, OrderCancellationRequested(order_id="o-1"))
    report = await run(mesh, archive)
    assert subjects(archive) == sorted([*before, "orders.cancellation_requested.o-1"])
    assert report.streams["ORDERS"].written == 1
    assert await here(mesh) == left("o-1")


class Crash(Exception):
    """The process ends here."""


CRASHES: dict[str, tuple[Any, str, int]] = {
    "before the file is written": (Archive, "_write", 0),
    "before it is compared": (Archive, "_compare", 0),
    "before it has its name": (Path, "rename", 0),
    "before its name is on the disk": (parquet, "to_disk", 1),
    "before its markers are left": (jobs, "mark_ended", 0),
    "before anything is purged": (jobs, "mark", 0),
    "between two marks": (jobs, "mark", 1),
    "before the first purge": (PurgeFilter, "purge", 0),
    "between two purges": (PurgeFilter, "purge", 1),
    "between the last two purges": (PurgeFilter, "purge", 2),
}


def crashing(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The function, which ends the process when it is called once more than so often."""
    calls = iter(range(after))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise Crash
        return function(*arguments, **named)

    return call


async def test_a_crash_at_any_line_loses_and_doubles_nothing(
    mesh: LocalMesh, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[str] = []
    for number, (line, (owner, name, after)) in enumerate(CRASHES.items()):
        order_id = f"o-{number}"
        await mesh.outside(placed(order_id))
        await tell(mesh, *story(order_id))
        whole += ["orders.placed", *(f"{type(event).type}.{order_id}" for event in story(order_id))]
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, crashing(getattr(owner, name), after))
            with pytest.raises(Crash):
                await run(mesh, archive)
        assert set(whole) <= await here(mesh) | set(subjects(archive)), line
        await run(mesh, archive)
        assert subjects(archive) == sorted(whole), line
        assert await here(mesh) == {subject for n in range(number + 1) for subject in left(f"o-{n}")}, line
        assert not list(archive.folder.glob("day=*/*.partial")), line


async def test_a_message_that_is_gone_is_told_from_one_that_may_not_be_deleted(mesh: LocalMesh) -> None:
    connection = mesh.context.connection
    last = await tell(mesh, *(placed(f"o-{number}") for number in range(4)))
    await request(connection, "STREAM.MSG.DELETE.ORDERS", {"seq": 2}, strict=True)
    purging = PurgeFilter("ORDERS", "orders.placed.*", {2, 3, last + 1})
    purging.saw(1)
    assert await purging.purge(connection) == 1
    info = await request(connection, "STREAM.INFO.ORDERS", strict=True)
    await request(connection, "STREAM.UPDATE.ORDERS", {**info["config"], "deny_delete": True}, strict=True)
    purging.sequences = {last}
    with pytest.raises(ApiError, match="not permitted"):
        await purging.purge(connection)


@pytest.mark.parametrize("text", ["99999999d", f"{'9' * 5_000}s", "36501d", "-1d", "1e9d", ""])
def test_a_length_of_time_that_none_is_is_refused_by_its_option(text: str, archive: Archive) -> None:
    arguments = ["archive", "--to", str(archive.folder), "--older-than", text, "--app", "jetmesh_shop.flow:SERVICES"]
    done = CliRunner(env={"NATS_URL": "nats://127.0.0.1:1"}).invoke(commands, arguments)
    assert (done.exit_code, "Invalid value for '--older-than'" in done.output) == (2, True), done.output


def test_the_archive_of_another_broker_is_refused(archive: Archive) -> None:
    row = Row("o-1", "ORDERS", 1, 1, "orders.placed.o-1", b"", b"{}")
    with archive.held():
        archive.keep([(row, row.day)])
        with pytest.raises(ArchiveError, match="another broker"):
            archive.keep([(row._replace(data=b"[]"), row.day)])


def test_an_archive_has_one_writer_at_a_time(archive: Archive) -> None:
    with archive.held(), pytest.raises(ArchiveError, match="another `jetmesh archive`"), Archive(archive.folder).held():
        pass


@pytest.mark.parametrize(
    ("stored", "added"),
    [
        (b"NATS/1.0\r\nce-id: 1\r\nx: \xff\r\n\r\n", b"NATS/1.0\r\nce-id: 1\r\nx: \xff\r\n"),
        (b"NATS/1.0\r\nNats-Stream: mine\r\n\r\n", b"NATS/1.0\r\nNats-Stream: mine\r\n"),
        (b"", b"NATS/1.0\r\n"),
    ],
)
def test_what_a_direct_get_adds_to_the_headers_is_taken_off_again(stored: bytes, added: bytes) -> None:
    block = added + b"Nats-Stream: ORDERS\r\nNats-Subject: orders.placed.o-1\r\nNats-Sequence: 1\r\n\r\n"
    assert as_stored(block) == stored


async def jetmesh(mesh: LocalMesh, *arguments: str, **more: str) -> tuple[int, str]:
    """What the command says, and its exit status."""
    environment = {**os.environ, **mesh.environment, "JETMESH_APP": "jetmesh_shop.flow:SERVICES", **more}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jetmesh", *arguments, env=environment, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_the_commands_archive_an_order_and_find_it_again(mesh: LocalMesh, archive: Archive) -> None:
    await tell(mesh, *story("o-1"))
    folder = str(archive.folder)
    status, said = await jetmesh(mesh, "archive", "--older-than", "0s", "--to", folder, "--json")
    assert (status, json.loads(said)["stories"]) == (0, 1)
    status, said = await jetmesh(mesh, "order", "o-1", "--archive", folder)
    assert status == 0
    assert f"6 of its 6 events are from the archive in {folder}" in said
    assert "orders.placed" in said
    status, said = await jetmesh(mesh, "order", "o-1", "--archive", folder, "--json")
    assert {event["type"] for event in json.loads(said)["events"] if event["archived"]} == {
        type(event).type for event in story("o-1")
    }
    status, said = await jetmesh(mesh, "audit", "--archive", folder)
    assert ", but was never placed" not in said
    status, said = await jetmesh(mesh, "audit", "--state", str(archive.folder.parent / "elsewhere"))
    assert status == 2
    assert "name it with JETMESH_ARCHIVE" in said
    status, said = await jetmesh(mesh, "archive", "--older-than", "soon")
    assert "write 30d, 12h, 90m or 0s" in said
    status, said = await jetmesh(mesh, "archive", "--older-than", "0s", "--to", folder)
    assert "0 stories that ended" in said


def row(sequence: int, seconds: float, subject: str = "orders.confirmed.o-1") -> Row:
    """A message as it was archived, so many seconds after 1970."""
    return Row("o-1", "ORDERS", sequence, int(seconds * 1e9), subject, b"", b"{}")


def test_what_a_restore_undid_counts_no_more_and_what_came_instead_is_kept_beside_it(archive: Archive) -> None:
    history = History(born=1_000.0)
    archive.follow({"ORDERS": history})
    before = [row(1, 1_100), row(2, 1_200), row(3, 1_300)]
    with archive.held():
        archive.keep([(each, each.day) for each in before])
        archive.follow({"ORDERS": history.after(Restoration(2_000.0, 2))})
        again = [row(2, 1_200), row(3, 2_100, "orders.cancelled.o-1")]
        assert archive.keep([(each, each.day) for each in again]) == again[1:]
    assert archive.all() == [*before[:2], again[1]]
    assert archive.of(["o-1"]) == archive.all()


def test_a_stream_made_anew_is_archived_beside_the_one_before(archive: Archive) -> None:
    first, second = row(1, 1_100), row(1, 2_100, "orders.cancelled.o-1")
    with archive.held():
        archive.keep([(first, first.day)])
        with pytest.raises(ArchiveError, match="another broker"):
            archive.keep([(second, second.day)])
        archive.follow({"ORDERS": History(born=2_000.0)})
        assert archive.keep([(second, second.day)]) == [second]
    assert archive.all() == [first, second]
