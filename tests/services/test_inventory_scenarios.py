"""Inventory: a batch is decided on one reading of the shelf, and never promises what is not there."""

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from jetmesh import Fold, Problem
from jetmesh.testing import given
from jetmesh_contracts import (
    Goods,
    GoodsRejected,
    GoodsReleased,
    GoodsReserved,
    Line,
    Shortage,
    Stock,
    StockLevel,
    StockOf,
)
from jetmesh_shop.inventory import domain
from jetmesh_shop.inventory.service import shelve, stock_of
from tests.support.samples import PIZZA, TRUFFLE, cancelled, placed, rejected, reserved, restocked

ORDER = placed()


def level(available: int, sku: str = "pizza-margherita") -> StockLevel:
    return StockLevel(sku=sku, available=available)


async def test_goods_that_are_there_are_put_aside_and_the_level_falls() -> None:
    await given(level(5)).when(shelve, ORDER).then(reserved(ORDER), level(3))


async def test_goods_that_are_not_there_are_rejected_and_the_level_stands_in_the_commit() -> None:
    await given(level(1)).when(shelve, ORDER).then(rejected(ORDER, available=1), level(1))


async def test_an_article_that_was_never_restocked_has_none() -> None:
    await given().when(shelve, ORDER).then(rejected(ORDER), level(0))


async def test_an_order_with_one_article_missing_reserves_nothing() -> None:
    order = placed("o-1", PIZZA, TRUFFLE)
    shortage = rejected(placed("o-1", TRUFFLE))
    await given(level(5)).when(shelve, order).then(shortage, level(5), level(0, "truffle-special"))


async def test_lines_of_one_article_are_counted_together() -> None:
    twice = placed("o-1", PIZZA, PIZZA)
    goods = GoodsReserved(order_id="o-1", goods=(Goods(sku="pizza-margherita", quantity=4),))
    await given(level(4)).when(shelve, twice).then(goods, level(0))
    shortage = Shortage(sku="pizza-margherita", wanted=4, available=3)
    missing = GoodsRejected(order_id="o-1", shortages=(shortage,))
    await given(level(3)).when(shelve, twice).then(missing, level(3))


async def test_a_batch_shares_one_shelf() -> None:
    first, second, third = placed("o-1"), placed("o-2"), placed("o-3")
    await (
        given(level(5))
        .when(shelve, [first, second, third])
        .then(reserved(first), reserved(second), rejected(third, available=1), level(1))
    )


async def test_a_cancelled_order_puts_its_goods_back() -> None:
    released = GoodsReleased(order_id="o-1", goods=reserved(ORDER).goods)
    await given(level(3), reserved(ORDER)).when(shelve, cancelled(ORDER)).then(released, level(5))
    await given(reserved(ORDER), released, level(5)).when(shelve, cancelled(ORDER)).then()


async def test_a_cancellation_that_overtakes_the_order_ends_it_here() -> None:
    released = GoodsReleased(order_id="o-1", goods=())
    await given(level(5)).when(shelve, cancelled(ORDER)).then(released)
    await given(level(5), released).when(shelve, ORDER).then()


async def test_a_restock_counts_once() -> None:
    restock = restocked("r-1", quantity=10)
    await given(level(5)).when(shelve, restock).then(restock, level(15))
    await given(restock, level(15)).when(shelve, restock).then()


@examples(
    st.integers(0, 20),
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=12),
)
def test_no_batch_oversells(pieces: int, wishes: list[tuple[int, bool]]) -> None:
    """Whatever is ordered and cancelled: the shelf never goes below nothing, and what is free plus what is put aside
    is what there was."""
    arrived: list[domain.Arrived] = []
    for number, (quantity, then_cancelled) in enumerate(wishes):
        order = placed(f"o-{number}", Line(sku="truffle-special", quantity=quantity, unit_price_minor=4_900))
        arrived.append(cancelled(order) if then_cancelled else order)
    reservations = {f"o-{number}": domain.Reservation() for number in range(len(wishes))}
    shelf = domain.Shelf({"truffle-special": pieces})
    outcomes = shelf.shelve(arrived, reservations, {})
    sold = sum(goods.quantity for o in outcomes if isinstance(o, GoodsReserved) for goods in o.goods)
    assert shelf.available["truffle-special"] == pieces - sold >= 0


async def test_a_request_is_answered_by_what_was_counted() -> None:
    counted = Fold().evolve(restocked("r-1")).evolve(level(7))
    assert await stock_of(StockOf(sku="pizza-margherita"), counted) == Stock(sku="pizza-margherita", available=7)
    with pytest.raises(Problem, match="404 There is no such article"):
        await stock_of(StockOf(sku="unicorn"), Fold())
