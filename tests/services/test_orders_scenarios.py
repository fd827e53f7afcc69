"""Orders: taken or refused, promised once both halves are there, and cancelled otherwise, in every order of arrival."""

from itertools import permutations
from typing import Any

import pytest

from jetmesh import NotYet, Permanent
from jetmesh.testing import given
from jetmesh_contracts import (
    Event,
    Line,
    OrderCancellationRequested,
    OrderConfirmed,
    OrderGoodsSecured,
    OrderPaymentSecured,
    OrderRefused,
    PaymentCaptureFailed,
)
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.domain import Order, cancellation
from jetmesh_shop.orders.domain import give_up as decide_give_up
from jetmesh_shop.orders.domain import promise as decide_promise
from jetmesh_shop.orders.service import Orders, give_up, place, promise, time_out, withdraw
from tests.support.samples import ADA, PIZZA, authorized, cancelled, confirmed, declined, placed, rejected, reserved

DEPS = Orders(PRICES)
HAWAII = Line(sku="pizza-hawaii", quantity=1, unit_price_minor=1_150)
CHEAP_COLA = Line(sku="cola", quantity=1, unit_price_minor=1)
ORDER = placed()
PAYMENT_SECURED = OrderPaymentSecured(order_id="o-1", authorization_id="pi_1")
GOODS_SECURED = OrderGoodsSecured(order_id="o-1")
CONFIRMED, CANCELLED = confirmed(ORDER), cancelled(ORDER, "payment_declined")


async def test_an_order_from_outside_is_recorded_once() -> None:
    await given().when(place, ORDER, DEPS).then(ORDER)


async def test_the_same_order_placed_again_is_settled() -> None:
    await given(ORDER).when(place, ORDER, DEPS).then()


async def test_other_contents_under_a_known_order_id_are_buried() -> None:
    other = placed("o-1", payment_method="pm_card_mastercard")
    await given(ORDER).when(place, other, DEPS).then_raises(Permanent, "other contents")


@pytest.mark.parametrize(
    ("line", "currency", "reason", "detail"),
    [
        (HAWAII, "EUR", "unknown_article", "there is no article pizza-hawaii"),
        (CHEAP_COLA, "EUR", "price_changed", "cola costs 290, not 1"),
        (PIZZA, "USD", "currency_not_sold", "prices are in EUR, not in USD"),
    ],
)
async def test_what_the_catalogue_does_not_sell_is_refused(line: Line, currency: Any, reason: Any, detail: str) -> None:
    order = placed("o-1", line).model_copy(update={"currency": currency})
    refused = OrderRefused(order_id="o-1", customer=ADA, reason=reason, detail=detail)
    await given().when(place, order, DEPS).then(refused)


@pytest.mark.parametrize(
    ("known", "arrived", "outcome"),
    [
        ((), authorized(ORDER), PAYMENT_SECURED),
        ((), reserved(ORDER), GOODS_SECURED),
        ((GOODS_SECURED,), authorized(ORDER), CONFIRMED),
        ((PAYMENT_SECURED,), reserved(ORDER), CONFIRMED),
        ((PAYMENT_SECURED,), authorized(ORDER), None),
        ((GOODS_SECURED,), reserved(ORDER), None),
        ((GOODS_SECURED, CONFIRMED), authorized(ORDER), None),
        ((CANCELLED,), reserved(ORDER), None),
    ],
)
async def test_an_order_is_promised_once_money_and_goods_are_secured(
    known: tuple[Event, ...], arrived: Event, outcome: Event | None
) -> None:
    await given(ORDER, *known).when(promise, arrived).then(*[outcome] if outcome else [])


async def test_news_about_an_order_that_is_not_in_the_story_yet_come_again() -> None:
    await given().when(promise, authorized(ORDER)).then_raises(NotYet)
    await given().when(give_up, declined(ORDER)).then_raises(NotYet)


@pytest.mark.parametrize(
    ("obstacle", "reason"), [(declined(ORDER), "payment_declined"), (rejected(ORDER), "out_of_stock")]
)
async def test_what_stands_in_the_way_cancels_the_order_once(obstacle: Event, reason: str) -> None:
    await given(ORDER).when(give_up, obstacle).then(cancelled(ORDER, reason))
    await given(ORDER, CANCELLED).when(give_up, obstacle).then()


async def test_a_promised_order_is_given_up_only_where_its_money_cannot_be_taken() -> None:
    failed = PaymentCaptureFailed(order_id="o-1", reason="authorization_expired")
    await given(ORDER, PAYMENT_SECURED, CONFIRMED).when(give_up, rejected(ORDER)).then()
    await given(ORDER, PAYMENT_SECURED, CONFIRMED).when(give_up, failed).then(cancelled(ORDER, "authorization_expired"))


async def test_time_cancels_what_has_not_ended() -> None:
    await given(ORDER, GOODS_SECURED).when(time_out, ORDER).then(cancelled(ORDER, "timed_out"))
    await given(ORDER, GOODS_SECURED, CONFIRMED).when(time_out, ORDER).then()


async def test_a_withdrawn_order_is_cancelled_and_a_promised_one_is_a_question_to_payments() -> None:
    request = OrderCancellationRequested(order_id="o-1")
    await given(ORDER).when(withdraw, request).then(cancelled(ORDER, "customer_request"))
    await given(ORDER, PAYMENT_SECURED, CONFIRMED).when(withdraw, request).then(request)
    await given(ORDER, PAYMENT_SECURED, CONFIRMED, request).when(withdraw, request).then()
    await given(ORDER, CANCELLED).when(withdraw, request).then()


@pytest.mark.parametrize("arrivals", list(permutations(["money", "goods", "money", "goods"])))
def test_the_join_ends_in_one_promise_whatever_comes_first_and_again(arrivals: tuple[str, ...]) -> None:
    news: dict[str, Any] = {"money": authorized(ORDER), "goods": reserved(ORDER)}
    order, promises = Order().evolve(ORDER), 0
    for arrival in arrivals:
        outcome = decide_promise(news[arrival], ORDER, order)
        promises += isinstance(outcome, OrderConfirmed)
        order = order.evolve(outcome) if outcome else order
    assert promises == 1


@pytest.mark.parametrize("arrivals", list(permutations(["money", "goods", "obstacle"])))
def test_an_order_ends_once_whatever_comes_first(arrivals: tuple[str, ...]) -> None:
    order, endings = Order().evolve(ORDER), 0
    for arrival in arrivals:
        outcome: Event | None
        if arrival == "obstacle":
            outcome = decide_give_up(declined(ORDER), ORDER, order)
        else:
            outcome = decide_promise(authorized(ORDER) if arrival == "money" else reserved(ORDER), ORDER, order)
        endings += type(outcome) in (OrderConfirmed, type(cancellation(ORDER, "timed_out")))
        order = order.evolve(outcome) if outcome else order
    assert endings == 1
