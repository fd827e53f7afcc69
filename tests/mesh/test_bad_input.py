"""Whatever is published as an order: nothing crashes, each wrong one is one dead letter whose reason names the field,
and the next order goes through."""

import json
from typing import Any

import pytest

from jetmesh.failure import TooLarge
from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh_contracts import OrderPlaced, OrderRefused
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders, orders
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.service import Payments, payments
from tests.support.samples import body

LINE = body()["lines"][0]
CLOUD = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-type": "orders.placed", "ce-source": "/shop"}
BLOCK_BYTES = len(encode_headers({}))


@pytest.fixture
async def mesh(mesh_of: MeshOf, tmp_path: Any) -> LocalMesh:
    """Orders, and two services that react to every order: a letter per reader would be seen."""
    bank = SandboxBank(tmp_path / "bank.sqlite")
    return await mesh_of(orders, payments, inventory, dependencies=[Orders(PRICES), Payments(bank)])


def with_line(**changes: Any) -> bytes:
    return json.dumps(body(lines=[{**LINE, **changes}])).encode()


def with_order(**changes: Any) -> bytes:
    return json.dumps(body(**changes)).encode()


BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "body: Invalid JSON"),
    "no JSON": (b"two pizzas, please", "body: Invalid JSON"),
    "cut off": (with_order()[:-7], "body: Invalid JSON"),
    "no object": (b"[1, 2]", "body: Input should be an object"),
    "null": (b"null", "body: Input should be an object"),
    "a number": (b"42", "body: Input should be an object"),
    "invalid UTF-8": (with_order().replace(b"ada@", b"ad\xff@"), "body: Invalid JSON"),
    "UTF-16": (with_order().decode().encode("utf-16"), "body: Invalid JSON"),
    "a field twice": (with_order().replace(b"{", b'{"currency": "USD", ', 1), 'body: "currency" stands twice'),
    "deep": (b"[" * 20_000 + b"]" * 20_000, "body: Invalid JSON"),
    "no customer": (with_order(customer=None), "customer: Field required"),
    "no lines": (with_order(lines=None), "lines: Field required"),
    "empty lines": (with_order(lines=[]), "lines: "),
    "too many lines": (with_order(lines=[LINE] * 101), "lines: "),
    "lines of text": (with_order(lines="pizza"), "lines: "),
    "no payment method": (with_order(payment_method=None), "payment_method: Field required"),
    "payment method with a dot": (with_order(payment_method="pm.card"), "payment_method: "),
    "negative price": (with_line(unit_price_minor=-1), "lines.0.unit_price_minor: "),
    "fractional price": (with_line(unit_price_minor=11.5), "lines.0.unit_price_minor: "),
    "price as text": (with_line(unit_price_minor="1150"), "lines.0.unit_price_minor: "),
    "price beyond all bounds": (with_line(unit_price_minor=10**30), "lines.0.unit_price_minor: "),
    "price not a number": (with_line().replace(b"1150", b"NaN"), "body: Invalid JSON"),
    "quantity of none": (with_line(quantity=0), "lines.0.quantity: "),
    "quantity beyond a thousand": (with_line(quantity=1_001), "lines.0.quantity: "),
    "quantity as truth": (with_line(quantity=True), "lines.0.quantity: "),
    "article with a space": (with_line(sku="pizza margherita"), "lines.0.sku: "),
    "unknown currency": (with_order(currency="XYZ"), "currency: "),
    "small currency": (with_order(currency="eur"), "currency: "),
    "no address": (with_order(customer={"customer_id": "c-7", "email": "ada"}), "customer.email: "),
    "two lines of address": (
        with_order(customer={"customer_id": "c", "email": "a@b.c\nBcc: x@y.z"}),
        "customer.email: ",
    ),
    "id with a dot": (with_order(order_id="o.1"), "order_id: "),
    "id with a wildcard": (with_order(order_id="o-*"), "order_id: "),
    "id with all the rest": (with_order(order_id=">"), "order_id: "),
    "id with a space": (with_order(order_id="o 1"), "order_id: "),
    "id too long": (with_order(order_id="o" * 65), "order_id: "),
    "empty id": (with_order(order_id=""), "order_id: "),
    "id as a number": (with_order(order_id=1042), "order_id: "),
}
HEADERS: dict[str, tuple[dict[str, str], str]] = {
    "unknown version": ({**CLOUD, "ce-specversion": "9.9"}, "specversion: '9.9'"),
    "no version": ({"ce-id": "e-1"}, "header ce-specversion: missing"),
    "no id": ({name: CLOUD[name] for name in CLOUD if name != "ce-id"}, "attribute id: missing"),
    "no source": ({name: CLOUD[name] for name in CLOUD if name != "ce-source"}, "attribute source: missing"),
    "type of another event": ({**CLOUD, "ce-type": "orders.cancelled"}, "attribute type: 'orders.cancelled'"),
    "no JSON by its own words": ({**CLOUD, "ce-datacontenttype": "text/xml"}, "datacontenttype: 'text/xml'"),
    "structured, but it is not": ({"Content-Type": "application/cloudevents+json"}, "data: missing"),
}
SUBJECTS: dict[str, str] = {"a type that nobody knows": "orders.plaiced", "a type of ours": "orders.confirmed"}


async def one_letter(mesh: LocalMesh, reason: str) -> None:
    """It ends in one letter, nothing is recorded, and the next order goes through."""
    (letter,) = await mesh.dead_letters(1)
    assert reason in letter.headers["Jetmesh-Reason"]
    assert letter.headers["Jetmesh-Attempts"] == "1"
    await mesh.publish("orders.placed", body("o-next"))
    await mesh.recorded(OrderPlaced, "o-next")
    await mesh.settled()
    assert await mesh.count("DEAD_LETTERS") == 1
    assert await mesh.types("o-1") == set()
    assert not mesh.replicas[0].task.done()


async def test_a_wrong_body_is_one_letter_that_names_the_field(mesh: LocalMesh) -> None:
    """All of them on one mesh, one after the other: a broker for each would take half a minute."""
    sequences = {await mesh.publish("orders.placed", data): name for name, (data, _) in BODIES.items()}
    letters = await mesh.dead_letters(len(BODIES))
    wrong: list[str] = []
    for letter in letters:
        name = sequences[int(letter.headers["Jetmesh-Sequence"])]
        data, reason = BODIES[name]
        if not letter.headers["Jetmesh-Reason"].startswith(reason) or letter.data != data:
            wrong.append(f"{name}: {letter.headers['Jetmesh-Reason']}")
    assert wrong == []
    await mesh.publish("orders.placed", body("o-next"))
    await mesh.recorded(OrderPlaced, "o-next")
    await mesh.settled()
    assert await mesh.count("DEAD_LETTERS") == len(BODIES)
    assert await mesh.count("ORDERS") == await _events_of(mesh, "o-next")


async def _events_of(mesh: LocalMesh, key: str) -> int:
    return sum(stored.type.startswith("orders.") for stored in await mesh.story(key))


@pytest.mark.parametrize("name", HEADERS)
async def test_wrong_headers_are_one_letter_that_names_the_attribute(mesh: LocalMesh, name: str) -> None:
    headers, reason = HEADERS[name]
    await mesh.publish("orders.placed", body(), headers)
    await one_letter(mesh, reason)


@pytest.mark.parametrize("name", SUBJECTS)
async def test_a_type_that_is_not_taken_from_outside_is_one_letter(mesh: LocalMesh, name: str) -> None:
    await mesh.publish(SUBJECTS[name], body())
    await one_letter(mesh, f"type: orders knows no {SUBJECTS[name]}; it takes orders.placed")


async def test_repeated_and_mangled_headers_do_no_harm(mesh: LocalMesh) -> None:
    """Of repeated headers the last one counts; bytes that are no UTF-8, broken traces and odd names are borne."""
    block = (
        b"NATS/1.0\r\nce-specversion: 0.3\r\nce-specversion: 1.0\r\nce-id: e-1\r\nce-type: orders.placed\r\n"
        b"ce-source: /\xff\xfe\r\ntraceparent: 00-nonsense\r\ntracestate: ===\r\nX-Odd : \xc3\x28\r\n"
        b"no colon at all\r\n\r\n"
    )
    mesh.context.connection.send("orders.placed", json.dumps(body()).encode(), headers=block)
    await mesh.recorded(OrderPlaced, "o-1")
    assert await mesh.dead_letters() == []


async def test_a_body_beyond_what_is_taken_is_refused_to_its_publisher(mesh: LocalMesh) -> None:
    """A dead letter with its evidence must fit: what leaves no room for it is not taken."""
    with pytest.raises(TooLarge, match="10054"):
        await mesh.publish("orders.placed", with_order().ljust(MESSAGE_BYTES_MAX + 1))
    await mesh.publish("orders.placed", body("o-next"))
    await mesh.recorded(OrderPlaced, "o-next")
    assert await mesh.count("INTAKE") == 1


@pytest.mark.parametrize("spare_bytes", [0, 16, 500, 2_048, 30_000])
async def test_a_body_of_nearly_what_is_taken_is_one_letter(mesh: LocalMesh, spare_bytes: int) -> None:
    data = with_order().ljust(MESSAGE_BYTES_MAX - spare_bytes, b"x")
    await mesh.publish("orders.placed", data[: MESSAGE_BYTES_MAX - BLOCK_BYTES])
    (letter,) = await mesh.dead_letters(1)
    await mesh.publish("orders.placed", body("o-next"))
    await mesh.recorded(OrderPlaced, "o-next")
    await mesh.settled()
    assert letter.headers["Jetmesh-Reason"].startswith("body: ")
    assert letter.data == data[: MESSAGE_BYTES_MAX - BLOCK_BYTES]
    assert await mesh.count("DEAD_LETTERS") == 1


async def test_an_order_of_the_largest_size_that_is_accepted_goes_through(mesh: LocalMesh) -> None:
    data = with_order()
    await mesh.publish("orders.placed", data + b" " * (MESSAGE_BYTES_MAX - len(data) - 2_048))
    await mesh.recorded(OrderPlaced, "o-1")


async def test_the_same_letter_is_not_one_per_reader_when_an_owners_event_is_malformed(mesh: LocalMesh) -> None:
    """Somebody with rights on the owner's subjects can write past the intake: each reader buries it once."""
    await mesh.publish("orders.placed.o-9", b"no JSON")
    letters = await mesh.dead_letters(2)
    readers = {letter.headers["Jetmesh-Service"] for letter in letters}
    assert {"payments", "inventory"} <= readers
    await mesh.settled()
    assert len(await mesh.dead_letters()) == await mesh.count("DEAD_LETTERS")


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"lines": [{**LINE, "sku": "pizza-hawaii"}]}, "unknown_article", "pizza-hawaii"),
        ({"lines": [{**LINE, "unit_price_minor": 1}]}, "price_changed", "costs 1150, not 1"),
        ({"currency": "USD"}, "currency_not_sold", "EUR"),
    ],
)
async def test_what_is_not_sold_is_a_refusal_and_no_dead_letter(
    mesh: LocalMesh, changes: dict[str, Any], reason: str, detail: str
) -> None:
    await mesh.publish("orders.placed", body(**changes))
    refused = await mesh.recorded(OrderRefused, "o-1")
    await mesh.settled()
    assert refused.reason == reason
    assert detail in refused.detail
    assert await mesh.types("o-1") == {"orders.refused"}
    assert await mesh.dead_letters() == []


async def test_an_order_without_an_id_gets_one_and_stays_one_order(mesh: LocalMesh) -> None:
    await mesh.publish("orders.placed", body(order_id=None))
    await mesh.settled()
    await mesh.deliver_again(orders)
    await mesh.settled()
    story = await mesh.context.direct_get.last("ORDERS", ["orders.placed.*"])
    assert len(story) == 1
    assert await mesh.dead_letters() == []


async def test_other_contents_under_a_known_id_are_a_letter_and_the_same_contents_none(mesh: LocalMesh) -> None:
    await mesh.publish("orders.placed", body())
    await mesh.publish("orders.placed", {**body(), "note": "unknown fields are left out"})
    await mesh.settled()
    assert await mesh.dead_letters() == []
    await mesh.publish("orders.placed", body(payment_method="pm_card_mastercard"))
    (letter,) = await mesh.dead_letters(1)
    assert "o-1: orders.placed was recorded before with other contents" in letter.headers["Jetmesh-Reason"]


async def test_another_order_under_a_known_key_and_id_does_not_vanish(mesh_of: MeshOf) -> None:
    """A stranger who guesses both has placed an order first; the publisher's own, sent twice, is taken."""
    mesh = await mesh_of(orders, dependencies=[Orders(PRICES)])
    strangers = body(payment_method="pm_card_amex")
    await mesh.publish("orders.placed", strangers, CLOUD)
    await mesh.recorded(OrderPlaced, "o-1")
    for order in (body(), strangers):
        await mesh.publish("orders.placed", order, CLOUD)
    (letter,) = await mesh.dead_letters(1)
    await mesh.settled()
    assert "o-1: orders.placed was recorded before with other contents" in letter.headers["Jetmesh-Reason"]
    assert await mesh.count("DEAD_LETTERS") == 1


async def test_an_order_that_was_refused_is_taken_again_under_its_id(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(orders, dependencies=[Orders(PRICES)])
    for _ in range(2):
        await mesh.publish("orders.placed", body(currency="USD"), CLOUD)
    await mesh.recorded(OrderRefused, "o-1")
    await mesh.settled()
    assert await mesh.dead_letters() == []
