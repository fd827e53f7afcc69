"""A breaking change is a new type beside the old: old and new producers and consumers work on at once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
import pytest_asyncio

import jetmesh_contracts
from jetmesh import Service
from jetmesh.contracts import package
from jetmesh.contracts.compatibility import check
from jetmesh.contracts.schema import Contract, contract
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh_contracts import Event, Grows, OrderPlaced, PaymentAuthorized, PaymentDeclined, Token, UnknownVersion
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.service import Payments, payments
from tests.contracts.evolution import OrderPlacedV2
from tests.support import samples

CONTRACTS = package.load("jetmesh_contracts")
ORDER = samples.placed()


def test_the_change_would_have_broken_the_old_type() -> None:
    new = contract(OrderPlacedV2)
    under_the_old_name = {OrderPlaced.type: Contract(OrderPlaced.type, new.producer, new.consumer)}
    found = {(each.rule, each.field) for each in check(under_the_old_name, [{OrderPlaced.type: contract(OrderPlaced)}])}
    assert {("field-removed", "customer"), ("field-required", "buyer")} <= found


def test_as_a_type_of_its_own_it_breaks_nobody() -> None:
    old = {OrderPlaced.type: contract(OrderPlaced)}
    assert check({**old, OrderPlacedV2.type: contract(OrderPlacedV2)}, [old]) == []


@pytest.mark.parametrize("file", CONTRACTS.example_files("orders.placed"), ids=lambda file: file.stem)
def test_every_example_of_version_1_is_read_as_version_2(file: Path) -> None:
    order = OrderPlacedV2.read(file.read_bytes(), "orders.placed")
    assert order.buyer.contact.language == "en"
    assert order.as_v1() == OrderPlaced.read(file.read_bytes())


VERSIONS: tuple[type[Event], ...] = (*jetmesh_contracts.EVENTS, OrderPlacedV2)


@pytest.mark.parametrize("event", VERSIONS, ids=lambda event: event.type)
def test_every_example_of_every_version_is_read_by_the_newest(event: type[Event]) -> None:
    for older in event.reads():
        for file in CONTRACTS.example_files(older):
            event.read(file.read_bytes(), older)


def test_a_chain_of_versions_is_lifted_step_by_step() -> None:
    class OrderPlacedV3(OrderPlacedV2, type="orders.placed_v3", previous=OrderPlacedV2):
        """A third version."""

        gift: bool

        @staticmethod
        def upcast(body: dict[str, object]) -> dict[str, object]:
            """Nothing was a gift before."""
            return {**body, "gift": False}

    assert OrderPlacedV3.reads() == ("orders.placed_v3", "orders.placed_v2", "orders.placed")
    order = OrderPlacedV3.read(ORDER.model_dump_json(), "orders.placed")
    assert (order.gift, order.buyer.contact.language) == (False, "en")


def test_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(
        UnknownVersion, match=r"orders.placed_v9 is not known; orders.placed_v2 and orders.placed can be"
    ):
        OrderPlacedV2.read(b"{}", "orders.placed_v9")


def test_a_body_that_its_own_version_does_not_allow_is_refused_before_it_is_lifted() -> None:
    with pytest.raises(ValueError, match="customer"):
        OrderPlacedV2.read(b'{"order_id": "o-1"}', "orders.placed")


class Told:
    """Whether version 1 is recorded."""

    def __init__(self, told: bool = False) -> None:
        self.told = told

    def evolve(self, event: object) -> "Told":
        return Told(self.told or isinstance(event, OrderPlaced))


orders, loyalty = Service("orders"), Service("loyalty")


@orders.intake
async def place(order: OrderPlaced | OrderPlacedV2) -> OrderPlacedV2:
    """Somebody clicked "Buy", as an old or a new shop says it: record it as version 2."""
    return OrderPlacedV2.read(order.model_dump_json(), type(order).type)


@orders.on
async def tell_old_readers(placed: OrderPlacedV2, story: Told) -> OrderPlaced | None:
    """An order was placed: say it as version 1 as well, for as long as somebody reads that."""
    return None if story.told else placed.as_v1()


class PointsEarned(Event, type="loyalty.earned", owner="loyalty", key_field="order_id"):
    """A customer earned points."""

    order_id: Token
    language: str


@loyalty.begins
async def reward(order: OrderPlacedV2) -> PointsEarned:
    """An order was placed: a consumer that knows version 2 alone."""
    return PointsEarned(order_id=order.order_id, language=order.buyer.contact.language)


@pytest_asyncio.fixture
async def mesh(mesh_of: MeshOf, tmp_path: Path) -> AsyncIterator[LocalMesh]:
    """Orders in its second version, payments as it is (it knows version 1), and loyalty (it knows version 2)."""
    bank = SandboxBank(tmp_path / "bank.sqlite")
    yield await mesh_of(orders, payments, loyalty, dependencies=[Payments(bank)])
    await bank.aclose()


def in_german(order: OrderPlaced) -> OrderPlacedV2:
    """The same order from a new shop."""
    body = json.loads(OrderPlacedV2.read(order.model_dump_json(), order.type).model_dump_json())
    body["buyer"]["contact"]["language"] = "de"
    return OrderPlacedV2.read(json.dumps(body))


async def test_old_and_new_producers_reach_old_and_new_consumers(mesh: LocalMesh) -> None:
    await mesh.outside(samples.placed("o-old"))
    await mesh.outside(in_german(samples.placed("o-new")))
    for key, language in (("o-old", "en"), ("o-new", "de")):
        assert (await mesh.recorded(PointsEarned, key)).language == language
        assert (await mesh.recorded(PaymentAuthorized, key)).amount_minor == ORDER.total_minor
        assert {"orders.placed", "orders.placed_v2"} <= await mesh.types(key)
    assert await mesh.dead_letters() == []


async def test_a_version_that_nobody_knows_yet_is_parked_with_its_reason(mesh: LocalMesh) -> None:
    await mesh.publish("orders.placed_v3", {"order_id": "o-later"})
    (letter,) = await mesh.dead_letters(1)
    assert "orders.placed_v3" in json.dumps(letter.headers)
    assert json.loads(letter.data) == {"order_id": "o-later"}
    assert await mesh.types("o-later") == set()


class Grown(Event, type="payments.declined", owner="payments", key_field="order_id"):
    """The payment was declined, for a reason that was not known before."""

    order_id: Token
    reason: Annotated[Literal["card_declined", "stolen_card", "other"], Grows("other")]


def test_a_list_that_grows_may_grow_and_shrink_without_a_break() -> None:
    old, new = ({each.type: contract(each)} for each in (PaymentDeclined, Grown))
    assert check(new, [old]) == []
    assert check(old, [new]) == []


def test_a_value_that_is_not_known_yet_is_read_as_the_catch_all_and_never_written() -> None:
    body = Grown(order_id="o-1", reason="stolen_card").model_dump_json()
    assert PaymentDeclined.read(body).reason == "other"
    with pytest.raises(ValueError, match="reason"):
        PaymentDeclined.model_validate_json(body)
    with pytest.raises(ValueError, match="reason"):
        PaymentDeclined.read(body.replace('"stolen_card"', "7"))
