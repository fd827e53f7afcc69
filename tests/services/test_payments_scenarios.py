"""Payments: the money is held once, taken once, and let go for good, in whatever order its news arrive."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jetmesh import NotYet
from jetmesh.testing import given
from jetmesh_contracts import (
    OrderCancellationRequested,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentVoided,
)
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.bank import authorization_id
from jetmesh_shop.payments.gateway import BankUnavailable, CaptureRefused, Held
from jetmesh_shop.payments.ledger import Ledger, begin_outage
from jetmesh_shop.payments.service import Payments, authorize, capture, void, withdraw
from tests.support.samples import ADA, authorized, cancelled, confirmed, declined, placed

ORDER = placed()
HOLD = authorized(ORDER, authorization_id("o-1"))
CAPTURED = PaymentCaptured(
    order_id="o-1", authorization_id=HOLD.authorization_id, amount_minor=2300, currency="EUR", customer=ADA
)
VOIDED = PaymentVoided(order_id="o-1")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "bank.sqlite"


@pytest.fixture
async def bank(ledger: Path) -> AsyncIterator[Payments]:
    bank = SandboxBank(ledger)
    yield Payments(bank)
    await bank.aclose()


async def hold(bank: Payments) -> None:
    assert isinstance(await bank.gateway.hold("o-1", 2300, "EUR", "pm_card_visa"), Held)


async def test_a_card_that_pays_is_held_once(bank: Payments, ledger: Path) -> None:
    await given().when(authorize, ORDER, bank).then(HOLD)
    assert [kind for _, kind in Ledger(ledger).movements()] == ["held"]


async def test_a_card_that_does_not_pay_is_declined(bank: Payments) -> None:
    order = placed("o-1", payment_method="pm_card_visa_chargeDeclined")
    await given().when(authorize, order, bank).then(declined(order))


@pytest.mark.parametrize("event", [HOLD, declined(ORDER), VOIDED], ids=lambda event: event.type)
async def test_an_order_that_payments_knows_is_not_held_again(bank: Payments, event: PaymentAuthorized) -> None:
    await given(event).when(authorize, ORDER, bank).then()


async def test_a_hold_on_a_closed_payment_waits_for_the_story_to_say_so(bank: Payments) -> None:
    await bank.gateway.close("o-1")
    await given().when(authorize, ORDER, bank).then_raises(NotYet, "closed")


async def test_a_closed_bank_is_asked_again_later(bank: Payments, ledger: Path) -> None:
    begin_outage(ledger)
    await given().when(authorize, ORDER, bank).then_raises(BankUnavailable)


async def test_a_confirmed_order_is_captured_once(bank: Payments, ledger: Path) -> None:
    await hold(bank)
    await given(HOLD).when(capture, confirmed(ORDER), bank).then(CAPTURED)
    assert [kind for _, kind in Ledger(ledger).movements()] == ["held", "captured"]


async def test_a_confirmation_that_overtakes_the_authorization_comes_again(bank: Payments) -> None:
    await given().when(capture, confirmed(ORDER), bank).then_raises(NotYet, "not in the story")


async def test_a_captured_payment_is_not_captured_again(bank: Payments) -> None:
    await given(HOLD, CAPTURED).when(capture, confirmed(ORDER), bank).then()


async def test_a_hold_that_expired_is_told(bank: Payments) -> None:
    order = placed("o-1", payment_method="pm_sandbox_holdExpires")
    await given().when(authorize, order, bank).then(HOLD)
    failed = PaymentCaptureFailed(order_id="o-1", reason="authorization_expired")
    await given(HOLD).when(capture, confirmed(order), bank).then(failed)


async def test_a_cancelled_order_gives_the_money_back_once(bank: Payments, ledger: Path) -> None:
    await hold(bank)
    await given(HOLD).when(void, cancelled(ORDER), bank).then(VOIDED)
    assert [kind for _, kind in Ledger(ledger).movements()] == ["held", "released"]


async def test_a_cancellation_that_overtakes_the_hold_closes_the_payment(bank: Payments, ledger: Path) -> None:
    await given().when(void, cancelled(ORDER), bank).then(VOIDED)
    await given().when(authorize, ORDER, bank).then_raises(NotYet)
    await given(VOIDED).when(authorize, ORDER, bank).then()
    assert Ledger(ledger).movements() == []


async def test_what_the_bank_took_in_a_time_that_a_restore_undid_is_given_back(bank: Payments) -> None:
    await hold(bank)
    await bank.gateway.capture("o-1")
    await given(HOLD).when(void, cancelled(ORDER), bank).then(VOIDED)
    assert await bank.gateway.capture("o-1") == CaptureRefused("closed")


@pytest.mark.parametrize("event", [declined(ORDER), VOIDED], ids=lambda event: event.type)
async def test_there_is_nothing_to_void_where_nothing_is_held(bank: Payments, event: PaymentVoided) -> None:
    await given(event).when(void, cancelled(ORDER), bank).then()


async def test_a_cancellation_of_a_captured_payment_is_never_taken_for_done(bank: Payments) -> None:
    await hold(bank)
    await bank.gateway.capture("o-1")
    await given(HOLD, CAPTURED).when(void, cancelled(ORDER), bank).then_raises(NotYet, "a person must look")


async def test_a_customer_may_withdraw_until_the_money_is_taken(bank: Payments) -> None:
    await hold(bank)
    request = OrderCancellationRequested(order_id="o-1")
    failed = PaymentCaptureFailed(order_id="o-1", reason="customer_request")
    await given(HOLD).when(withdraw, request, bank).then(failed)
    await given(HOLD, CAPTURED).when(withdraw, request, bank).then()
