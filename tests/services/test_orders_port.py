"""What the HTTP edge needs of the orders: the ones in memory, which its tests use, answer as those on the mesh do."""

from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from jetmesh.testing import MeshOf
from jetmesh_contracts import Customer, Line, OrderPlaced, OrderRefused
from jetmesh_shop.orders.adapters import MeshOrders
from jetmesh_shop.orders.edge.port import Orders, Placement
from jetmesh_shop.orders.service import Orders as Dependencies
from jetmesh_shop.orders.service import orders as service
from tests.services.orders_in_memory import PRICES, InMemoryOrders


def order(
    order_id: str = "o-1", *, sku: str = "tiramisu", price: int = 650, email: str = "ada@example.com"
) -> OrderPlaced:
    line = Line(sku=sku, quantity=2, unit_price_minor=price)
    customer = Customer(customer_id="c-7", email=email)
    return OrderPlaced(order_id="o-1", customer=customer, lines=(line,), currency="EUR", payment_method="pm_card_visa")


@pytest.fixture(params=["in memory", "on the mesh"])
async def orders(request: pytest.FixtureRequest, mesh_of: MeshOf) -> AsyncIterator[Orders]:
    """Both."""
    if request.param == "in memory":
        yield InMemoryOrders()
        return
    mesh = await mesh_of(service, dependencies=[Dependencies(PRICES)])
    yield MeshOrders(mesh.context, PRICES)


async def types(orders: Orders, order_id: str) -> list[str]:
    return [event.type for event in await orders.story(order_id)]


async def test_an_order_is_placed_once(orders: Orders) -> None:
    assert await orders.place(order()) == Placement(order(), is_new=True)
    assert await orders.place(order()) == Placement(order())
    assert await orders.place(order(email="grace@example.com")) == Placement(order())
    assert await types(orders, "o-1") == ["orders.placed"]


@pytest.mark.parametrize(
    ("wrong", "reason", "detail"),
    [
        (order(sku="caviar"), "unknown_article", "there is no article caviar"),
        (order(price=600), "price_changed", "tiramisu costs 650, not 600"),
        (
            order(email="ada@-example.com"),
            "email_unusable",
            "An email address cannot have a hyphen immediately after the @-sign.",
        ),
    ],
    ids=["article", "price", "address"],
)
async def test_a_refusal_is_recorded_and_stays(orders: Orders, wrong: OrderPlaced, reason: str, detail: str) -> None:
    refused, again = await orders.place(wrong), await orders.place(order())
    assert isinstance(refused.recorded, OrderRefused)
    assert (refused.recorded.reason, refused.recorded.detail, refused.is_new) == (reason, detail, True)
    assert again == Placement(refused.recorded)
    assert await types(orders, "o-1") == ["orders.refused"]


async def test_a_story_tells_what_was_recorded_in_its_order(orders: Orders) -> None:
    await orders.place(order())
    (placed,) = await orders.story("o-1")
    assert (placed.type, placed.key) == ("orders.placed", "o-1")
    assert datetime.fromisoformat(placed.time).tzinfo is not None
    assert placed.document == order().model_dump(mode="json")
    assert placed.sequence > 0
    assert list(await orders.story("o-unknown")) == []


async def test_the_first_who_claims_a_key_has_it(orders: Orders) -> None:
    assert await orders.claim("key-1", "mine") == "mine"
    assert await orders.claim("key-1", "another's") == "mine"
    assert await orders.claim("key-2", "another's") == "another's"


async def test_a_cancellation_may_be_asked_for_twice(orders: Orders) -> None:
    await orders.place(order())
    await orders.request_cancellation("o-1")
    await orders.request_cancellation("o-1")
