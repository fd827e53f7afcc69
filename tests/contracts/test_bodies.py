"""A body from outside means the same at every door: over NATS, over HTTP and to `jetmesh validate`."""

import json
from collections.abc import Callable

import pytest
from pydantic import TypeAdapter

from jetmesh import Problem
from jetmesh.cloudevents import decode_envelope, read_event
from jetmesh.contracts.advice import advise
from jetmesh.failure import BrokenContract
from jetmesh.http.requests import parsed
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import encode_headers
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.orders.edge.placing import OrderAsSent
from tests.support.samples import body

ORDER = body()
TEXT = json.dumps(ORDER)
CLOUD = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-type": "orders.placed", "ce-source": "/shop"}
STRUCTURED = {"specversion": "1.0", "id": "e-1", "type": "orders.placed", "source": "/shop"}


def many_fields(count: int, text: str) -> bytes:
    """An object of so many fields that nobody knows, of which the last stands twice."""
    fields = "".join(f'"x{number}": 1, ' for number in range(count))
    return f'{{{fields}"last": 1, "last": 2, {text[1:]}'.encode()


TAKEN: dict[str, bytes] = {
    "plain": TEXT.encode(),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "2.0 for 2": TEXT.replace('"quantity": 2', '"quantity": 2.0').encode(),
    "2e0 for 2": TEXT.replace('"quantity": 2', '"quantity": 2e0').encode(),
    "space around it": b" \r\n" + TEXT.encode() + b"\t",
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-be"), "UTF-16"),
    "UTF-32": (TEXT.encode("utf-32"), "UTF-32"),
    "a lone surrogate": (TEXT.replace("c-7", "\\ud800").encode(), "surrogate"),
    "a lone surrogate in a field that nobody knows": (f'{{"x": "\\udc00", {TEXT[1:]}'.encode(), "surrogate"),
    "a surrogate in UTF-8": (TEXT.encode().replace(b"c-7", b"\xed\xa0\x80"), "Invalid JSON"),
    "NaN in a field that nobody knows": (f'{{"x": NaN, {TEXT[1:]}'.encode(), "Invalid JSON"),
    "infinity": (f'{{"x": -Infinity, {TEXT[1:]}'.encode(), "Invalid JSON"),
    "a number beyond all doubles": (f'{{"x": 1e400, {TEXT[1:]}'.encode(), "too large"),
    "a number of 5,000 digits": (f'{{"x": {"1" * 5_000}, {TEXT[1:]}'.encode(), "number out of range"),
    "a field twice": (f'{{"currency": "USD", {TEXT[1:]}'.encode(), '"currency" stands twice'),
    "a field twice, inside": (TEXT.replace('"quantity": 2', '"quantity": 1, "quantity": 2').encode(), '"quantity"'),
    "a field twice, escaped": (f'{{"c\\u0075rrency": "USD", {TEXT[1:]}'.encode(), '"currency" stands twice'),
    "a field twice, behind many": (many_fields(60_000, TEXT), '"last" stands twice'),
    "two documents": (TEXT.encode() * 2, "Invalid JSON"),
    "deep": (f'{{"x": {"[" * 500}{"]" * 500}, {TEXT[1:]}'.encode(), "recursion"),
    "no bytes": (b"", "Invalid JSON"),
    "a mark alone": (b"\xef\xbb\xbf", "Invalid JSON"),
}


def over_nats(data: bytes, **headers: str) -> str:
    """What a service says to the message: nothing, where it takes it."""
    block = encode_headers(headers) if headers else b""
    delivery = RawDelivery("orders.placed", block, data, "", "INTAKE", 1, 1, 0.0)
    try:
        assert read_event(OrderPlaced, decode_envelope(delivery).data, "o-2") == OrderPlaced.read(TEXT)
    except BrokenContract as broken:
        return str(broken)
    return ""


def in_binary_mode(data: bytes) -> str:
    return over_nats(data, **CLOUD)


def over_http(data: bytes) -> str:
    try:
        order = TypeAdapter(OrderAsSent).validate_python(parsed(data))
        assert order.placed(None) == OrderPlaced.read(TEXT)
    except Problem as problem:
        return str(problem.detail)
    return ""


def to_the_validator(data: bytes) -> str:
    return "; ".join(str(advice) for advice in advise(OrderPlaced, data) if not advice.note)


DOORS: list[Callable[[bytes], str]] = [over_nats, in_binary_mode, over_http, to_the_validator]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", TAKEN)
def test_what_one_door_takes_every_door_takes(name: str, door: Callable[[bytes], str]) -> None:
    assert door(TAKEN[name]) == ""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_one_door_refuses_every_door_refuses_for_the_same_reason(name: str, door: Callable[[bytes], str]) -> None:
    data, reason = REFUSED[name]
    assert reason in door(data)


@pytest.mark.parametrize("name", [name for name in REFUSED if not name.startswith(("UTF", "no bytes", "a mark"))])
def test_a_structured_event_is_read_by_the_same_rule(name: str) -> None:
    data, _ = REFUSED[name]
    whole = json.dumps(STRUCTURED)[:-1].encode() + b', "data": ' + data + b"}"
    assert over_nats(whole, **{"Content-Type": "application/cloudevents+json"}).startswith("body: ")


def test_a_lone_surrogate_in_an_attribute_breaks_the_contract() -> None:
    whole = json.dumps({**STRUCTURED, "id": "\ud800", "data": ORDER}).encode()
    assert "surrogate" in over_nats(whole, **{"Content-Type": "application/cloudevents+json"})
