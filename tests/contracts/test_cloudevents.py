"""CloudEvents: the official SDKs of Python and Go read what we write, and we read what they write, traps included."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from jetmesh.cloudevents import Envelope, cloud_event, decode_envelope, decode_own_form, read_event
from jetmesh.failure import BrokenContract
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import encode_headers
from jetmesh.testing import Broker, MeshOf
from jetmesh_contracts import OrderConfirmed, OrderPlaced
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders, orders
from tests.contracts.conftest import INTEROP, run
from tests.support import samples

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ORDER = samples.placed()
ODD = 'größe 50% "x" €😀'


def delivered(headers: dict[str, str], data: bytes, subject: str = "orders.placed") -> RawDelivery:
    """A message as the broker delivers it from the intake."""
    return RawDelivery(subject, headers, data, "", "INTAKE", 1, 1, 1772366400.0)


def understood(headers: dict[str, str], data: bytes = ORDER.model_dump_json().encode()) -> Envelope:
    return decode_envelope(delivered(headers, data))


def ours(key: str = "o-1", correlation_id: str = "o-1") -> dict[str, str]:
    """The headers that we write."""
    return cloud_event(
        OrderPlaced,
        key,
        event_id="7d5c5b52-90d8-5f6d-9f4e-3c1f5a6b7c8d",
        correlation_id=correlation_id,
        causation_id="0e9a6f0c-3d57-5a4e-8d3c-6a5e2f9b1c20",
        trace={"traceparent": TRACEPARENT},
    )


def theirs(**attributes: Any) -> CloudEvent:
    """An order as somebody makes it with the official package."""
    known = {"id": "py-1", "source": "/shop/python", "type": "orders.placed", "datacontenttype": "application/json"}
    return CloudEvent({**known, **attributes}, json.loads(ORDER.model_dump_json()))


def test_what_we_write_is_decoded_in_one_pass() -> None:
    """A header that `event_lines` writes and the pattern does not have would send every delivery the slow way."""
    delivery = RawDelivery("orders.placed.o-1", encode_headers(ours()), b"{}", "", "ORDERS", 1, 1, 1772366400.0)
    own = decode_own_form(delivery)
    assert own is not None
    assert (own.id, own.key, own.traceparent) == ("7d5c5b52-90d8-5f6d-9f4e-3c1f5a6b7c8d", "o-1", TRACEPARENT)


def test_the_python_sdk_reads_what_we_write() -> None:
    event = from_binary(
        HTTPMessage(ours(correlation_id=ODD), ORDER.model_dump_json().encode()), JSONFormat(), CloudEvent
    )
    assert event.get_id() == "7d5c5b52-90d8-5f6d-9f4e-3c1f5a6b7c8d"
    assert (event.get_type(), event.get_source(), event.get_subject()) == ("orders.placed", "/jetmesh/orders", "o-1")
    assert event.get_extension("correlationid") == ODD
    assert event.get_datacontenttype() == "application/json"
    time = event.get_time()
    assert time is not None
    assert time.tzinfo is not None
    data = event.get_data()
    assert (data if isinstance(data, dict) else json.loads(data or "")) == json.loads(ORDER.model_dump_json())


def test_we_read_what_the_python_sdk_writes_in_binary_mode() -> None:
    message = to_binary(theirs(correlationid=ODD, source="/café 1%"), JSONFormat())
    assert "content-type" in {name.lower() for name in message.headers}
    envelope = understood(dict(message.headers), message.body)
    assert (envelope.id, envelope.source, envelope.correlation_id) == ("py-1", "/café 1%", ODD)
    assert read_event(OrderPlaced, envelope.data) == ORDER


def test_we_read_what_the_python_sdk_writes_in_structured_mode() -> None:
    message = to_structured(theirs(correlationid=ODD, traceparent=TRACEPARENT), JSONFormat())
    envelope = understood(dict(message.headers), message.body)
    assert (envelope.id, envelope.correlation_id, envelope.traceparent) == ("py-1", ODD, TRACEPARENT)
    assert read_event(OrderPlaced, envelope.data) == ORDER


BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-type": "orders.placed"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


def structured(**members: Any) -> bytes:
    """A structured event with these members changed; a member that is `...` is left out."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/x",
        "type": "orders.placed",
        "data": samples.body(),
        **members,
    }
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def test_a_traceparent_attribute_is_the_origin_and_the_header_the_parent() -> None:
    hop = TRACEPARENT.replace("00f067aa0ba902b7", "b7ad6b7169203331")
    assert understood({**ours(), "ce-traceparent": TRACEPARENT, "traceparent": hop}).traceparent == hop


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
def test_a_content_type_beside_ce_headers_is_still_binary(name: str) -> None:
    assert understood({**BINARY, name: "application/json; charset=utf-8"}).id == "1"


def test_names_of_headers_are_read_in_any_case() -> None:
    assert understood({name.title(): value for name, value in ours().items()}).traceparent == TRACEPARENT


@pytest.mark.parametrize("mode", ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=UTF-8"])
def test_structured_mode_is_known_by_its_content_type_in_any_case(mode: str) -> None:
    assert understood({"content-type": mode}, structured()).id == "1"


REFUSED = {
    "another version": (STRUCTURED, structured(specversion="0.3"), "specversion: '0.3'"),
    "no id": (STRUCTURED, structured(id=...), "id: missing"),
    "an empty source": (STRUCTURED, structured(source=""), "source: missing"),
    "no data": (STRUCTURED, structured(data=...), "data: missing"),
    "a batch": ({"Content-Type": "application/cloudevents-batch+json"}, b"[]", "JSON object"),
    "another type": (STRUCTURED, structured(type="orders.cancelled"), "does not belong on the subject"),
    "no JSON": (STRUCTURED, b"{", "body: Invalid JSON"),
    "another format": ({**BINARY, "ce-datacontenttype": "text/plain"}, b"", "datacontenttype: 'text/plain'"),
    "ce- headers without a version": ({"ce-id": "1"}, b"{}", "ce-specversion: missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_event_is_refused_with_its_reason(name: str) -> None:
    headers, data, reason = REFUSED[name]
    with pytest.raises(BrokenContract, match=reason):
        understood(headers, data)


def test_a_structured_event_with_attributes_that_are_no_strings_is_read() -> None:
    assert understood(STRUCTURED, structured(sequence=5, sampled=True, dataschema=None)).id == "1"


def test_a_structured_event_with_its_data_in_base64_is_read() -> None:
    message = to_structured(CloudEvent(theirs().get_attributes(), ORDER.model_dump_json().encode()), JSONFormat())
    assert b"data_base64" in message.body
    assert read_event(OrderPlaced, understood(dict(message.headers), message.body).data) == ORDER


@pytest.mark.parametrize(
    ("sent", "source"), [('"/a b"', "/a b"), ('"/say \\"hi\\""', '/say "hi"'), ("/caf%C3%A9", "/café")]
)
def test_quoted_and_percent_encoded_headers_are_decoded(sent: str, source: str) -> None:
    assert understood({**BINARY, "ce-source": sent}).source == source


def test_percent_encoded_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(BrokenContract, match="not UTF-8"):
        understood({**BINARY, "ce-source": "/%C3%28"})


async def test_the_go_sdk_reads_what_we_record_and_we_read_what_it_writes(
    mesh_of: MeshOf, broker: Broker, go_programs: Path
) -> None:
    mesh = await mesh_of(orders, dependencies=[Orders(PRICES)])
    promised, order = samples.confirmed(ORDER), samples.placed("o-go-sdk")
    await mesh.record(promised)
    program = (go_programs / "cloudevents", broker.url, "ORDERS", "orders.confirmed.o-1", "orders.placed")
    said = json.loads(await asyncio.to_thread(run, INTEROP, *program, order.model_dump_json()))
    assert (said["type"], said["source"], said["subject"]) == ("orders.confirmed", "/jetmesh/orders", "o-1")
    assert OrderConfirmed.model_validate_json(json.dumps(said["data"])) == promised
    assert await mesh.recorded(OrderPlaced, order.key) == order
