"""Of an archived story nothing but the endings is left, and they settle whatever comes late, in every service."""

from pathlib import Path
from typing import Any

import pytest

from jetmesh import Permanent
from jetmesh.testing import given
from jetmesh_contracts import (
    CancellationSent,
    ConfirmationSent,
    Event,
    GoodsReleased,
    OrderCancellationRequested,
    OrderRefused,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentVoided,
    ReceiptSent,
    StockLevel,
)
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.inventory.service import shelve
from jetmesh_shop.notifications.service import Notifications, apologize, confirm, thank
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders, give_up, place, promise, time_out, withdraw
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.ledger import Ledger
from jetmesh_shop.payments.service import Payments, authorize, capture, void
from jetmesh_shop.payments.service import withdraw as close
from tests.services.test_notifications_scenarios import Outbox
from tests.support.samples import ADA, authorized, cancelled, confirmed, declined, placed, rejected, reserved, restocked

ORDER = placed()
CONFIRMED, CANCELLED = confirmed(ORDER), cancelled(ORDER)
REFUSED = OrderRefused(order_id="o-1", customer=ADA, reason="unknown_article", detail="there is none")
REQUEST = OrderCancellationRequested(order_id="o-1")
CAPTURED = PaymentCaptured(order_id="o-1", authorization_id="pi_1", amount_minor=2300, currency="EUR", customer=ADA)
FAILED = PaymentCaptureFailed(order_id="o-1", reason="capture_failed")
VOIDED = PaymentVoided(order_id="o-1")
RELEASED = GoodsReleased(order_id="o-1", goods=())
LEVEL = StockLevel(sku="pizza-margherita", available=5)
RESTOCKED = restocked("r-1", "pizza-margherita", 5)
LATE = [
    (promise, authorized(ORDER)),
    (promise, reserved(ORDER)),
    (give_up, declined(ORDER)),
    (give_up, rejected(ORDER)),
    (time_out, ORDER),
    (withdraw, REQUEST),
]


@pytest.mark.parametrize(("reaction", "arrived"), LATE, ids=lambda it: getattr(it, "type", getattr(it, "__name__", "")))
@pytest.mark.parametrize("ending", [CONFIRMED, CANCELLED], ids=lambda event: event.type)
async def test_an_archived_order_is_neither_promised_nor_cancelled_again(
    ending: Event, reaction: Any, arrived: Event
) -> None:
    await given(ending).when(reaction, arrived).then()


async def test_an_order_that_was_refused_can_not_be_withdrawn() -> None:
    await given(REFUSED).when(withdraw, REQUEST).then()


@pytest.mark.parametrize("ending", [CONFIRMED, CANCELLED, REFUSED], ids=lambda event: event.type)
async def test_an_order_under_the_id_of_an_archived_one_is_buried(ending: Event) -> None:
    """Whether it is the same can't be seen any more, and an order that somebody placed must not vanish."""
    await given(ending).when(place, ORDER, Orders(PRICES)).then_raises(Permanent, "publish it under a new key")


@pytest.mark.parametrize(
    ("ending", "reaction", "arrived"),
    [
        (CAPTURED, authorize, ORDER),
        (CAPTURED, capture, CONFIRMED),
        (CAPTURED, close, REQUEST),
        (declined(ORDER), authorize, ORDER),
        (declined(ORDER), void, CANCELLED),
        (VOIDED, authorize, ORDER),
        (VOIDED, capture, CONFIRMED),
        (VOIDED, close, REQUEST),
        (VOIDED, void, CANCELLED),
    ],
    ids=lambda it: getattr(it, "type", getattr(it, "__name__", "")),
)
async def test_an_archived_payment_takes_and_lets_go_nothing(
    tmp_path: Path, ending: Event, reaction: Any, arrived: Event
) -> None:
    bank = SandboxBank(tmp_path / "bank.sqlite")
    await bank.close("o-1")
    await given(ending).when(reaction, arrived, Payments(bank)).then()
    await bank.aclose()
    assert Ledger(tmp_path / "bank.sqlite").movements() == []


@pytest.mark.parametrize(
    ("endings", "arrived"),
    [
        ((reserved(ORDER),), ORDER),
        ((rejected(ORDER),), ORDER),
        ((rejected(ORDER),), CANCELLED),
        ((reserved(ORDER), RELEASED), ORDER),
        ((reserved(ORDER), RELEASED), CANCELLED),
        ((RESTOCKED,), RESTOCKED),
    ],
    ids=lambda it: "+".join(event.type for event in it) if isinstance(it, tuple) else it.type,
)
async def test_an_archived_reservation_moves_no_goods(endings: tuple[Event, ...], arrived: Event) -> None:
    await given(LEVEL, *endings).when(shelve, arrived).then()


@pytest.mark.parametrize(
    ("ending", "reaction", "arrived"),
    [
        (ConfirmationSent(order_id="o-1", message_id="<m>"), confirm, CONFIRMED),
        (CancellationSent(order_id="o-1", message_id="<m>"), apologize, CANCELLED),
        (CancellationSent(order_id="o-1", message_id="<m>"), apologize, REFUSED),
        (ReceiptSent(order_id="o-1", message_id="<m>"), thank, CAPTURED),
    ],
    ids=lambda it: getattr(it, "type", getattr(it, "__name__", "")),
)
async def test_no_archived_order_is_written_about_again(ending: Event, reaction: Any, arrived: Event) -> None:
    outbox = Outbox()
    await given(ending).when(reaction, arrived, Notifications(outbox)).then()
    assert outbox.mails == []


def test_every_service_that_records_says_what_its_endings_are() -> None:
    for service in SERVICES:
        assert bool(service.endings) == bool(service.records), service.name
        assert not any(event.state for event in service.endings)
