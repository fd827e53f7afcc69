"""The proof is proved: bugs planted here, and never in the product, are caught by the seeds."""

import pytest

from jetmesh.jetstream.message import Guard
from jetmesh.jetstream.publisher import NO_SEQUENCE
from jetmesh_contracts import GoodsReleased, OrderCancelled
from jetmesh_shop.inventory import domain
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.payments.service import payments
from tests.simulation.seeds import Caught, first_caught
from tests.support.planted import acknowledged_first, forgetting

SEEDS = range(100)


def caught() -> Caught:
    """The first seed that catches what is planted."""
    found = first_caught(SEEDS)
    assert found is not None, f"not caught by {len(SEEDS)} seeds"
    return found


def test_acknowledging_before_recording_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in (orders, payments, notifications):
        monkeypatch.setattr(service, "middlewares", (acknowledged_first,))
    caught()


def test_a_guard_left_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = vars(Guard)["lines"].fget

    def of_questions(guard: Guard) -> str:
        return str(lines(guard)) if guard.sequence == NO_SEQUENCE else ""

    monkeypatch.setattr(Guard, "lines", property(of_questions))
    assert "recorded 2 times" in str(caught())


def test_a_void_left_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments, "middlewares", (forgetting(OrderCancelled),))
    assert "there is no payments.declined or payments.voided" in str(caught())


def test_goods_that_do_not_come_back_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(self: domain.Shelf, order: OrderCancelled, known: domain.Reservation) -> GoodsReleased | None:
        goods = known.reserved.goods if known.reserved else ()
        return None if known.has_ended else GoodsReleased(order_id=order.order_id, goods=goods)

    monkeypatch.setattr(domain.Shelf, "release", keep)
    assert "stock: restocked − on the shelf = reserved − released" in str(caught())
