"""What ended is archived and purged down to its markers; whatever comes late finds them, and nothing happens twice."""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jetmesh.jetstream.api import request
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.message import Message
from jetmesh.local.state import StateFolder
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.open_work import DEAD
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.report import Report
from jetmesh.operate.archive.retention import events_from_outside
from jetmesh.operate.archive.row import Row
from jetmesh.operate.archive.scan import scan
from jetmesh.operate.archive.story import with_keys
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.runtime import delayed_redelivery, origin
from jetmesh.testing import Broker, MeshOf
from jetmesh.topology.names import timers_of
from jetmesh.topology.partitions import names
from jetmesh_contracts import DeliveryDispatched, OrderDelivered, ShiftBegun, ShiftEnded
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.adapters import MeshOrders
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.edge.port import Placement
from jetmesh_shop.orders.edge.stories import ENDED, status_of
from jetmesh_shop.payments.bank import CAPTURE_FAILS
from jetmesh_shop.reference.audit import AUDIT, collect
from jetmesh_shop.reference.report import SUBJECT
from tests.mesh.routing import PARTITIONS, SPLIT, routing_broker
from tests.mesh.test_flow import DECLINED, TWO_TRUFFLES, place
from tests.mesh.whole import Whole, whole_mesh
from tests.support.programs import ROOT
from tests.support.samples import TRUFFLE, placed

STREAMS = ["INTAKE", *(service.stream for service in SERVICES if service.records)]
REACTIONS = [(s, r) for s in SERVICES for r in s.reactions if not (r.form.keeps_all or r.form.only_outside)]
LEVELS = {event.type for service in SERVICES for event in service.records if event.state}
WITHIN_SECONDS = 60


class Shop:
    """The mesh with a deadline that is over soon, and its archive."""

    def __init__(self, whole: Whole, folder: Path) -> None:
        self.whole, self.state = whole, StateFolder(folder)
        self.archive = Archive(self.state.archive)

    async def orders(self) -> dict[str, str]:
        """An order for each way that one can go, ended, and acknowledged by everybody; how each ended."""
        mesh = self.whole.mesh
        await mesh.outside(ShiftBegun(shift_id="rosa-1", courier_id="rosa"))
        await mesh.recorded(ShiftBegun, "rosa-1")
        good = await place(self.whole, "o-good")
        await mesh.recorded(DeliveryDispatched, "o-good")
        await mesh.outside(OrderDelivered(order_id="o-good", courier_id="rosa"))
        keys = [
            good,
            await place(self.whole, "o-declined", payment_method=DECLINED),
            await place(self.whole, "o-unpaid", payment_method=CAPTURE_FAILS),
            await place(self.whole, "o-short", lines=TWO_TRUFFLES),
            await place(self.whole, "o-refused", lines=[{**TRUFFLE.model_dump(), "sku": "pizza-hawaii"}]),
        ]
        endings = await self.whole.ended(*keys)
        await mesh.recorded(OrderDelivered, "o-good")
        await mesh.outside(ShiftEnded(shift_id="rosa-1"))
        await mesh.recorded(ShiftEnded, "rosa-1")
        await mesh.settled(WITHIN_SECONDS)
        await mesh.until(self.is_quiet, WITHIN_SECONDS, "every durable has acknowledged everything")
        return endings

    async def is_quiet(self) -> bool:
        """Whether the deadlines, too, are acknowledged."""
        mesh = self.whole.mesh.context
        waiting = [f"{stream}.orders-time_out" for stream in names("ORDERS", mesh.settings.split)]
        for durable in [*waiting, "DELIVERY.delivery-watch"]:
            info = await request(mesh.connection, f"CONSUMER.INFO.{durable}")
            if info["num_pending"] or info["num_ack_pending"]:
                return False
        return True

    async def run(self, until: datetime | None = None, *, dry_run: bool = False) -> Report:
        """The job, for all that has ended by now."""
        mesh = self.whole.mesh.context
        job = Job(mesh.connection, SERVICES, self.archive, lambda _: None, mesh.settings.split)
        with self.archive.held():
            return await job.run(until or datetime.now(UTC), dry_run=dry_run)

    async def messages(self) -> dict[tuple[str, int], Row]:
        """Every message of every stream as the leader has it, byte for byte."""
        found: dict[tuple[str, int], Row] = {}
        for stream in (name for whole in STREAMS for name in names(whole, self.whole.mesh.settings.split)):
            sequence = 1
            while message := await self._message(stream, sequence):
                found[stream, message.sequence] = message
                sequence = message.sequence + 1
        return found

    async def _message(self, stream: str, sequence: int) -> Row | None:
        body = json.dumps({"seq": sequence, "next_by_subj": ">"}).encode()
        kept = json.loads(await self.whole.mesh.context.connection.ask(f"$JS.API.STREAM.MSG.GET.{stream}", body)).get(
            "message"
        )
        if kept is None:
            return None
        headers, data = (base64.b64decode(kept.get(name, "")) for name in ("hdrs", "data"))
        return Row("", stream, kept["seq"], 0, kept["subject"], headers, data)

    async def audited(self) -> dict[str, list[str]]:
        """What is wrong with the books."""
        books = await collect(self.whole.mesh.context, self.state)
        return {found.check: list(found.offences) for found in AUDIT.of(books).findings if found.offences}

    async def reported(self) -> Any:
        """What analytics counted."""
        answer = await self.whole.mesh.context.connection.ask(SUBJECT, b"", 20)
        return json.loads(answer)

    async def restart(self) -> None:
        """New processes: nobody remembers what was recorded."""
        for service in SERVICES:
            await self.whole.mesh.stop(service)
        for service in SERVICES:
            await self.whole.mesh.start(service)


@pytest.fixture
def partitions() -> str:
    """How streams are split: not at all, where a test does not say otherwise."""
    return ""


@pytest.fixture
def nats_broker(tmp_path: Path, partitions: str) -> Iterator[Broker]:
    """The broker that this needs."""
    with routing_broker(tmp_path, SPLIT if partitions else {}) as server:
        yield server


@pytest.fixture
async def shop(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partitions: str
) -> AsyncIterator[Shop]:
    """All services, and deadlines of three seconds."""
    deadlines = {f"JETMESH_AFTER_{name}_SECONDS": "3" for name in ("ORDERS_TIME_OUT", "DELIVERY_WATCH")}
    told = {**deadlines, "JETMESH_PARTITIONS": partitions}
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, **told) as whole:
        yield Shop(whole, tmp_path)


async def test_what_ended_leaves_the_streams_down_to_markers_and_can_be_rebuilt_to_the_byte(shop: Shop) -> None:
    await shop.orders()
    before, books = await shop.messages(), await shop.reported()
    report = await shop.run()
    after = await shop.messages()

    gone = before.keys() - after.keys()
    archived = {row.position: row for row in shop.archive.all()}
    assert gone <= archived.keys()
    for row in archived.values():
        assert (row.subject, row.headers, row.data) == before[row.position][4:], row.position
    types = {row.type for (stream, _), row in after.items() if stream != "INTAKE"}
    assert types == {
        "orders.ENDED", "payments.ENDED", "inventory.ENDED", "notifications.ENDED", "stock.ENDED", "stock.level",
        "delivery.ENDED", "shifts.ENDED", "couriers.roster",
    }  # fmt: skip
    assert not [stream for stream, _ in after if stream == "INTAKE"]
    assert report.reasons == {}
    assert sum(stream.purged for stream in report.streams.values()) == len(gone)
    assert await shop.audited() == {}
    assert (await shop.reported())["orders"] == books["orders"]
    story = shop.archive.of(["o-good"])
    assert len(story) == 12
    assert len({row.trace_id for row in story if row.key and row.stream != "INTAKE"}) == 1


@pytest.mark.parametrize("partitions", ["", PARTITIONS], ids=["whole streams", "split streams"])
async def test_whatever_comes_late_about_an_archived_order_does_nothing(shop: Shop) -> None:
    endings = await shop.orders()
    await shop.run()
    before = recorded(await shop.messages())
    balances, mails = shop.whole.balances(), shop.whole.mails()
    await shop.restart()

    for row in shop.archive.all():
        await deliver_late(shop, row)
    for service in SERVICES:
        await shop.whole.mesh.deliver_again(service)
    for order_id in endings:
        await shop.whole.mesh.publish("orders.cancellation_requested", {"order_id": order_id})
    await shop.whole.mesh.settled(WITHIN_SECONDS)

    assert recorded(await shop.messages()) == before
    assert (shop.whole.balances(), shop.whole.mails()) == (balances, mails)
    assert [letter.headers["Jetmesh-Reason"] for letter in await shop.whole.mesh.dead_letters()] == []
    for service in SERVICES:
        assert not await shop.whole.mesh.count(timers_of(service.stream)), f"{service.name} will try again"
    assert await shop.audited() == {}


def recorded(messages: dict[tuple[str, int], Row]) -> set[tuple[str, int]]:
    """Where the messages stand that services recorded."""
    return {(stream, sequence) for stream, sequence in messages if stream != "INTAKE"}


async def deliver_late(shop: Shop, row: Row) -> None:
    """Bring an archived message, as it was, to each reaction that ever read it, as a delayed redelivery."""
    delivery = RawDelivery(
        row.subject, row.header_fields(), row.data, "", row.stream, row.sequence, 1, row.time_ns / 1e9
    )
    for service, reaction in REACTIONS:
        if row.stream != "INTAKE" and delivery.type in {event.type for event in reaction.events}:
            headers = {**row.header_fields(), **delayed_redelivery.origin(reaction.name, delivery, attempts=0)}
            kept = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
            subject = f"due.{origin.of(service.name, reaction.name, delivery).tokens}"
            await shop.whole.mesh.context.publisher.record(Message(subject, row.data, kept), limited=False)


async def test_an_order_placed_again_under_an_archived_id_is_a_dead_letter_and_nothing_more(shop: Shop) -> None:
    await shop.orders()
    await shop.run()
    await shop.restart()
    before, balances, mails = recorded(await shop.messages()), shop.whole.balances(), shop.whole.mails()
    post = DeadLetters(shop.whole.mesh.context.connection, shop.whole.mesh.context.publisher, "ada@desk")

    await place(shop.whole, "o-good")
    await place(shop.whole, "o-good", payment_method="pm_card_mastercard")
    await place(shop.whole, "o-refused")
    assert await MeshOrders(shop.whole.mesh.context, PRICES).place(placed("o-good")) == Placement(None)
    await shop.whole.mesh.dead_letters(3)
    for letter in [letter async for letter in post.all()]:
        await post.replay(letter)
    await shop.whole.mesh.settled(WITHIN_SECONDS)
    letters = [letter async for letter in post.all()]

    assert [letter.reason.partition(": ")[2] for letter in letters if letter.source == "orders.placed"] == [
        "it has ended, and is archived; publish it under a new key"
    ] * 3
    assert recorded(await shop.messages()) == before
    assert (shop.whole.balances(), shop.whole.mails()) == (balances, mails)
    assert await shop.audited() == {}
    assert (await shop.run()).reasons == {DEAD: 2}
    for letter in letters:
        await post.discard(letter)
    assert (await shop.run()).reasons == {}
    assert [stream for stream, _ in await shop.messages() if stream == "INTAKE"] == []
    assert await shop.audited() == {}


async def test_a_warehouse_made_anew_is_loaded_from_the_archive_as_the_guide_says(shop: Shop, tmp_path: Path) -> None:
    await shop.orders()
    before = await shop.reported()
    await shop.run()
    warehouse = tmp_path / "analytics.duckdb"
    await shop.whole.mesh.stop(analytics)
    warehouse.unlink()
    await shop.whole.mesh.deliver_again(analytics)
    await shop.whole.mesh.start(analytics)
    await shop.whole.mesh.settled(WITHIN_SECONDS)
    assert (await shop.reported())["orders"] != before["orders"]
    await shop.whole.mesh.stop(analytics)
    with duckdb.connect(warehouse) as db:
        db.execute(loading(shop.archive.folder))
    await shop.whole.mesh.start(analytics)
    after = await shop.reported()
    assert after == before


def loading(folder: Path) -> str:
    """The statement in the guide for operators."""
    sql = re.search(r"```sql\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    assert sql, "the guide says how to load the archive into a warehouse"
    return sql[1].replace("DIR", str(folder))


async def test_an_archived_order_is_shown_as_it_ended(shop: Shop) -> None:
    endings = await shop.orders()
    await shop.run()
    for order_id, ending in endings.items():
        told = await MeshOrders(shop.whole.mesh.context, PRICES).story(order_id)
        types = {event.type for event in told}
        assert f"orders.{ending}" in types
        assert types <= {"orders.confirmed", "orders.cancelled", "orders.refused"}
        assert status_of(types) in ENDED


async def test_endings_that_an_older_archive_left_still_guard(shop: Shop) -> None:
    """Without markers, as before: then the next run makes them markers, and they guard as well."""
    await shop.orders()
    connection = shop.whole.mesh.context.connection
    types = {event.type for service in SERVICES for event in service.records if not event.state}
    endings = {event.type for service in SERVICES for event in service.endings}
    until = datetime.now(UTC)
    await shop.run(until, dry_run=True)
    with shop.archive.held():
        rows = await everything(shop)
        shop.archive.keep([(row, row.day) for row in rows])
    for row in rows:
        if row.type in types - endings or row.stream == "INTAKE":
            await request(connection, f"STREAM.MSG.DELETE.{row.stream}", {"seq": row.sequence}, strict=True)
    await shop.restart()
    balances, mails = shop.whole.balances(), shop.whole.mails()
    for _ in ("old endings", "markers"):
        before = recorded(await shop.messages())
        for row in shop.archive.all():
            await deliver_late(shop, row)
        await shop.whole.mesh.settled(WITHIN_SECONDS)
        assert recorded(await shop.messages()) == before
        assert (shop.whole.balances(), shop.whole.mails()) == (balances, mails)
        await shop.run()


async def everything(shop: Shop) -> list[Row]:
    """All messages as the job reads them."""
    found: list[Row] = []
    for stream in STREAMS:
        async with scan(shop.whole.mesh.context.connection, stream, [">"]) as scanning:
            while page := await scanning.page(1_000):
                found += [row for row in page if row.type not in LEVELS]
    return with_keys(found, events_from_outside(SERVICES))
