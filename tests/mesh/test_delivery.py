"""Couriers on the real broker: none has two orders, whoever is killed, cancels, leaves, vanishes or lies."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from jetmesh import Retry
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh_contracts import (
    CourierMissed,
    CourierRoster,
    DeliveryCancelled,
    DeliveryDelayed,
    DeliveryDispatched,
    DeliveryReassigned,
    OrderDelivered,
    PositionReported,
    ShiftBegun,
    ShiftEnded,
)
from jetmesh_shop.delivery.domain import DEPOT
from jetmesh_shop.delivery.service import delivery
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.payments.service import payments
from jetmesh_shop.reference import delivery_checks
from jetmesh_shop.reference.audit import AUDIT
from jetmesh_shop.reference.couriers import on_duty
from tests.mesh.whole import Whole, whole_mesh
from tests.support.processes import running
from tests.support.samples import body, cancelled, captured, placed

ROSA, JAN = ShiftBegun(shift_id="rosa-1", courier_id="rosa"), ShiftBegun(shift_id="jan-1", courier_id="jan")
DONE = {OrderDelivered.type, DeliveryCancelled.type}
ACK_WAIT_SECONDS = "2"
APP = "jetmesh_shop.flow:SERVICES"


def delivered(order_id: str, courier_id: str = "rosa") -> OrderDelivered:
    return OrderDelivered(order_id=order_id, courier_id=courier_id)


def position(order_id: str, number: int, courier_id: str = "rosa") -> PositionReported:
    return PositionReported(
        order_id=order_id, position_id=f"p-{number}", courier_id=courier_id, latitude=52.5, longitude=13.4
    )


async def carrier(mesh: LocalMesh, order_id: str) -> str:
    return (await mesh.recorded(DeliveryDispatched, order_id)).courier_id


async def taken_from(mesh: LocalMesh, order_id: str, courier_id: str) -> None:
    """Wait until the order was taken from who carried it."""

    async def is_taken() -> bool:
        return courier_id in (await mesh.recorded(DeliveryReassigned, order_id)).silent

    await mesh.until(is_taken, 30)


async def roster(mesh: LocalMesh) -> CourierRoster:
    await mesh.settled()
    return await mesh.recorded(CourierRoster, DEPOT)


async def is_sound(mesh: LocalMesh, folder: Path) -> None:
    """What the audit of the shop says about couriers; nobody sends mails here."""
    books = await AUDIT.collect(mesh.context, SERVICES, folder, folder)
    checks = [check for check in delivery_checks.CHECKS if check is not delivery_checks.delayed_are_told]
    assert [offence for check in checks for offence in check(books)] == []


async def test_three_replicas_of_which_one_is_killed_give_no_courier_two_orders(
    mesh_of: MeshOf, broker: Broker, tmp_path: Path
) -> None:
    mesh = await mesh_of(*SERVICES, start=False, JETMESH_ACK_WAIT_SECONDS=ACK_WAIT_SECONDS)
    orders = [f"o-{number}" for number in range(200)]

    async def are_done(least: int) -> bool:
        found = await mesh.context.direct_get.last(delivery.stream, [f"{ending}.*" for ending in DONE])
        return len({message.key for message in found}) >= least

    with ExitStack() as stack:
        environment = {"NATS_URL": broker.url, "JETMESH_ACK_WAIT_SECONDS": ACK_WAIT_SECONDS}
        replicas = [stack.enter_context(running(tmp_path, "delivery", app=APP, **environment)) for _ in range(3)]
        await mesh.until(lambda: all(replica.is_ready for replica in replicas), 60)
        async with on_duty(mesh.context, 20) as couriers:
            await asyncio.gather(*(mesh.record(captured(order_id)) for order_id in [*orders, *orders[::3]]))
            await mesh.until(partial(are_done, 20), 60)
            replicas[0].process.kill()
            await asyncio.gather(*(mesh.record(cancelled(placed(order_id))) for order_id in orders[::10]))
            await mesh.until(partial(are_done, 100), 60)
            replicas[1].process.kill()
            await mesh.until(partial(are_done, len(orders)), 90)
            await mesh.until(couriers.are_idle, 30)
    assert [letter.headers["Jetmesh-Reason"] for letter in await mesh.dead_letters()] == []
    await is_sound(mesh, tmp_path)


async def test_a_cancelled_order_frees_its_courier_for_the_next_one(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(delivery)
    await mesh.outside(ROSA)
    await mesh.record(captured("o-1"))
    assert await carrier(mesh, "o-1") == "rosa"
    await mesh.record(captured("o-2"))
    await mesh.settled()
    assert DeliveryDispatched.type not in await mesh.types("o-2")
    await mesh.record(cancelled(placed("o-1")))
    assert await carrier(mesh, "o-2") == "rosa"
    await mesh.outside(delivered("o-1"))
    assert [ride.order_id for ride in (await roster(mesh)).rides] == ["o-2"]
    assert DeliveryCancelled.type in await mesh.types("o-1")
    await is_sound(mesh, tmp_path)


async def test_a_courier_who_goes_off_duty_while_carrying_delivers_and_is_gone(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(delivery)
    await mesh.outside(ROSA)
    await mesh.record(captured("o-1"))
    assert await carrier(mesh, "o-1") == "rosa"
    await mesh.outside(ShiftEnded(shift_id="rosa-1"))
    await mesh.record(captured("o-2"))
    await mesh.outside(position("o-1", 1))
    await mesh.outside(delivered("o-1"))
    assert (await mesh.recorded(OrderDelivered, "o-1")).courier_id == "rosa"
    left = await roster(mesh)
    assert (left.on_duty, left.rides, left.waiting) == ((), (), 1)
    await mesh.outside(JAN)
    assert await carrier(mesh, "o-2") == "jan"


async def test_the_order_of_a_courier_who_vanishes_waits_for_another_one_who_delivers_it(
    mesh_of: MeshOf, tmp_path: Path
) -> None:
    """Whoever comes then may be missed as well, on a slow machine: whoever had the order may deliver it."""
    mesh = await mesh_of(delivery, JETMESH_AFTER_DELIVERY_WATCH_SECONDS="1")
    await mesh.outside(ROSA)
    await mesh.record(captured("o-1"))
    assert await carrier(mesh, "o-1") == "rosa"
    await mesh.outside(position("o-1", 1))
    await taken_from(mesh, "o-1", "rosa")
    await mesh.recorded(DeliveryDelayed, "o-1")
    await mesh.recorded(ShiftEnded, "rosa-1")
    assert (await mesh.occurrences(CourierMissed, "o-1"))[0].courier_id == "rosa"
    await mesh.outside(JAN)
    await mesh.recorded(ShiftBegun, "jan-1")
    await mesh.outside(delivered("o-1", "jan"))
    assert (await mesh.recorded(OrderDelivered, "o-1")).courier_id == "jan"
    await mesh.outside(delivered("o-1"))
    found = await roster(mesh)
    assert (found.rides, found.returned, found.waiting) == ((), (), 0)
    assert (await mesh.recorded(OrderDelivered, "o-1")).courier_id == "jan"
    assert await mesh.dead_letters() == []
    await is_sound(mesh, tmp_path)


async def test_the_delivery_of_a_courier_who_comes_back_counts_and_the_other_one_is_free(
    mesh_of: MeshOf, tmp_path: Path
) -> None:
    mesh = await mesh_of(delivery, JETMESH_AFTER_DELIVERY_WATCH_SECONDS="1")
    await mesh.outside(ROSA)
    await mesh.record(captured("o-1"))
    assert await carrier(mesh, "o-1") == "rosa"
    await mesh.outside(JAN)
    await taken_from(mesh, "o-1", "rosa")
    await mesh.outside(position("o-1", 1))
    await mesh.outside(delivered("o-1"))
    assert (await mesh.recorded(OrderDelivered, "o-1")).courier_id == "rosa"
    await mesh.outside(delivered("o-1", "jan"))
    before = await roster(mesh), await mesh.count("DELIVERY")
    await mesh.deliver_again(delivery)
    assert (await roster(mesh), await mesh.count("DELIVERY")) == before
    assert before[0].rides == ()
    assert await mesh.dead_letters() == []
    await is_sound(mesh, tmp_path)


async def test_what_comes_twice_and_everything_delivered_again_change_nothing(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(delivery)
    for event in (ROSA, ROSA, JAN):
        await mesh.outside(event)
    await mesh.settled()
    for order_id in ("o-1", "o-2", "o-3", "o-1"):
        await mesh.record(captured(order_id))
    await mesh.settled()
    first = "o-1" if await carrier(mesh, "o-1") == "rosa" else "o-2"
    for number in (1, 2, 1, 2, 2):
        await mesh.outside(position(first, number))
    for _ in range(3):
        await mesh.outside(delivered(first))
    before = await roster(mesh), await mesh.count("DELIVERY")
    await mesh.deliver_again(delivery)
    assert (await roster(mesh), await mesh.count("DELIVERY")) == before
    assert len(await mesh.occurrences(PositionReported, first)) == 2
    assert await mesh.dead_letters() == []
    await is_sound(mesh, tmp_path)


LIES = {
    "courier_id: jan does not carry o-1, rosa does": ("delivery.delivered", {"order_id": "o-1", "courier_id": "jan"}),
    "latitude: ": ("delivery.position_reported", {**position("o-1", 1).model_dump(), "latitude": 91}),
    "position_id: ": ("delivery.position_reported", {**position("o-1", 1).model_dump(), "position_id": "a.b"}),
    "courier_id: jan does not": ("delivery.position_reported", position("o-1", 1, "jan").model_dump()),
    "courier_id: ": ("shifts.begun", {"shift_id": "s-1", "courier_id": ["rosa"]}),
    "shift_id: ": ("shifts.ended", {"shift_id": "s *"}),
}


@pytest.mark.parametrize("reason", LIES)
async def test_what_can_not_be_is_one_dead_letter_that_names_the_field(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """What a lagging replica may not know yet is tried for a while; here, twice."""
    impatient = [replace(each, retry=Retry(attempts=2, first_seconds=0.01)) for each in delivery.reactions]
    monkeypatch.setattr(delivery, "_reactions", impatient)
    mesh = await mesh_of(delivery)
    await mesh.outside(ROSA)
    await mesh.record(captured("o-1"))
    await carrier(mesh, "o-1")
    subject, lie = LIES[reason]
    await mesh.publish(subject, lie)
    (letter,) = await mesh.dead_letters(1)
    assert reason in letter.headers["Jetmesh-Reason"]
    await mesh.outside(delivered("o-1"))
    await mesh.recorded(OrderDelivered, "o-1")
    assert len(await mesh.dead_letters()) == 1


async def test_orders_that_were_paid_before_there_was_a_delivery_stay_where_they_are(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declared time has passed already, so another one stands in its place."""
    before = await mesh_of(payments, start=False)
    for number in range(50):
        await before.record(captured(f"o-old-{number}"))
    assert all(isinstance(each.since, datetime) for each in delivery.reactions if each.form.is_joint)
    lately = [replace(each, since=datetime.now(UTC)) for each in delivery.reactions]
    monkeypatch.setattr(delivery, "_reactions", lately)
    mesh = await mesh_of(delivery)
    await mesh.outside(ROSA)
    await mesh.record(captured("o-new"))
    assert await carrier(mesh, "o-new") == "rosa"
    found = await roster(mesh)
    assert (len(found.rides), found.waiting) == (1, 0)


async def test_an_order_is_carried_to_its_customer_in_one_trace(whole: Whole) -> None:
    await whole.mesh.publish("orders.placed", body("o-1"))
    async with on_duty(whole.mesh.context, 1):
        assert (await whole.mesh.recorded(OrderDelivered, "o-1", 30)).courier_id == "courier-1"
    await whole.is_balanced(await whole.ended("o-1"))
    assert {each.position_id for each in await whole.mesh.occurrences(PositionReported, "o-1")} == {"p-1", "p-2"}


async def test_who_waits_for_a_courier_for_too_long_gets_a_mail(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, JETMESH_AFTER_DELIVERY_DELAY_SECONDS="0.5") as whole:
        await whole.mesh.publish("orders.placed", body("o-1"))
        await whole.mesh.until(lambda: "<delay.o-1@mail.jetmesh.invalid>" in whole.mails(), 30)
        async with on_duty(whole.mesh.context, 1):
            await whole.mesh.recorded(OrderDelivered, "o-1", 30)
        await whole.is_balanced(await whole.ended("o-1"))
        types = await whole.mesh.types("o-1")
        assert {"delivery.queued", "delivery.delayed", "notifications.delay_sent"} <= types
        assert whole.mails().count("<delay.o-1@mail.jetmesh.invalid>") == 1
