"""From click to confirmation through five services, whatever comes twice, late, at once or goes away in between."""

import asyncio
from functools import partial
from typing import Any

import pytest

from jetmesh.service import Service
from jetmesh.testing import Broker
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.payments.ledger import begin_outage, end_outage
from tests.mesh.whole import Whole
from tests.support.samples import TRUFFLE, body, placed

DECLINED = "pm_card_visa_chargeDeclined"
FLAKY = "pm_sandbox_flaky"
TWO_TRUFFLES = [{**TRUFFLE.model_dump(), "quantity": 11}]


async def place(whole: Whole, order_id: str, **changes: Any) -> str:
    await whole.mesh.publish("orders.placed", body(order_id, **changes))
    return order_id


async def test_each_way_that_an_order_can_go(whole: Whole) -> None:
    orders = [
        await place(whole, "o-good"),
        await place(whole, "o-declined", payment_method=DECLINED),
        await place(whole, "o-short", lines=TWO_TRUFFLES),
        await place(whole, "o-flaky", payment_method=FLAKY),
        await place(whole, "o-refused", lines=[{**TRUFFLE.model_dump(), "sku": "pizza-hawaii"}]),
    ]
    endings = await whole.ended(*orders)
    assert endings == {
        "o-good": "confirmed",
        "o-declined": "cancelled",
        "o-short": "cancelled",
        "o-flaky": "confirmed",
        "o-refused": "refused",
    }
    await whole.is_balanced(endings)
    assert await whole.level("pizza-margherita") == 1_000 - 4
    assert await whole.level("truffle-special") == 10
    assert whole.mails() == [
        f"<{kind}.{order_id}@mail.jetmesh.invalid>"
        for kind, order_id in [
            ("cancellation", "o-declined"),
            ("cancellation", "o-refused"),
            ("cancellation", "o-short"),
            ("confirmation", "o-flaky"),
            ("confirmation", "o-good"),
            ("receipt", "o-flaky"),
            ("receipt", "o-good"),
        ]
    ]


async def test_duplicates_and_everything_delivered_again_change_nothing(whole: Whole) -> None:
    orders = [await place(whole, f"o-{number}") for number in range(5)]
    await asyncio.gather(*(place(whole, order_id) for order_id in orders for _ in range(5)))
    endings = await whole.ended(*orders)
    before = {order_id: len(await whole.mesh.story(order_id)) for order_id in orders}
    for order_id in orders:
        await whole.mesh.record(placed(order_id))
    for service in SERVICES:
        await whole.mesh.deliver_again(service)
    await whole.mesh.settled(60)
    await whole.is_balanced(endings)
    assert {order_id: len(await whole.mesh.story(order_id)) for order_id in orders} == before
    assert len(whole.mails()) == 2 * len(orders)
    assert await whole.level("pizza-margherita") == 1_000 - 2 * len(orders)


async def test_the_same_order_placed_twice_at_once_with_other_contents_is_one_order(whole: Whole) -> None:
    await asyncio.gather(place(whole, "o-1"), place(whole, "o-1", payment_method="pm_card_mastercard"))
    (letter,) = await whole.mesh.dead_letters(1)
    assert "with other contents" in letter.headers["Jetmesh-Reason"]
    assert await whole.ended("o-1") == {"o-1": "confirmed"}
    order = await whole.mesh.recorded(OrderPlaced, "o-1")
    assert order.payment_method in ("pm_card_visa", "pm_card_mastercard")
    assert whole.balances()["o-1"].captures == 1


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_any_one_service_may_be_away_and_catches_up(whole: Whole, service: Service) -> None:
    await whole.mesh.stop(service)
    orders = [await place(whole, f"o-{number}") for number in range(10)]
    if service.name in ("notifications", "analytics"):
        for order_id in orders:
            await whole.mesh.until(partial(_has, whole, order_id, "payments.captured"))
    await whole.mesh.start(service)
    endings = await whole.ended(*orders)
    assert set(endings.values()) == {"confirmed"}
    await whole.is_balanced(endings)


async def _has(whole: Whole, order_id: str, event_type: str) -> bool:
    return event_type in await whole.mesh.types(order_id)


async def test_a_broker_that_is_killed_in_the_middle_loses_and_doubles_nothing(whole: Whole, broker: Broker) -> None:
    orders = [f"o-{number}" for number in range(60)]
    for number, order_id in enumerate(orders):
        if number in (20, 40):
            broker.restart()
        await place(whole, order_id)
    endings = await whole.ended(*orders, within_seconds=60)
    assert set(endings.values()) == {"confirmed"}
    await whole.is_balanced(endings, crashed=True)
    assert len(set(whole.mails())) == 2 * len(orders)
    assert await whole.level("pizza-margherita") == 1_000 - 2 * len(orders)


async def test_a_bank_that_is_closed_for_a_while_delays_and_loses_nothing(whole: Whole, tmp_path: Any) -> None:
    begin_outage(tmp_path / "bank.sqlite")
    orders = [await place(whole, f"o-{number}") for number in range(5)]
    for order_id in orders:
        await whole.mesh.until(partial(_has, whole, order_id, "inventory.reserved"))
    end_outage(tmp_path / "bank.sqlite")
    await whole.is_balanced(await whole.ended(*orders, within_seconds=60))


async def test_time_ends_what_nobody_decides(whole: Whole) -> None:
    by_name = {service.name: service for service in SERVICES}
    await whole.mesh.stop(by_name["orders"])
    await whole.mesh.stop(by_name["payments"])
    await whole.mesh.start(by_name["orders"], JETMESH_AFTER_ORDERS_TIME_OUT_SECONDS="1")
    await place(whole, "o-1")
    assert await whole.mesh.until(lambda: _has(whole, "o-1", "orders.cancelled"))
    await whole.mesh.start(by_name["payments"])
    endings = await whole.ended("o-1")
    await whole.is_balanced(endings)
    assert await whole.level("pizza-margherita") == 1_000
