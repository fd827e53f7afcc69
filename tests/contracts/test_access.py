"""The AsyncAPI document says what a program of another team must know of the broker."""

import re
from pathlib import Path

from jetmesh.contracts import access, outside, package
from jetmesh.contracts.asyncapi import document
from jetmesh.contracts.package import contracts_of
from jetmesh.contracts.page import html
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import Jetmesh
from jetmesh.runtime import dead_letter
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from tests.support import plant

ROOT = Path(__file__).parents[2]
JAVA = [file.read_text() for file in sorted((ROOT / "examples/java").rglob("*.java"))]
CONTRACTS = package.load("jetmesh_contracts")
INFO = {"title": "shop", "version": "1.0.0", "description": "orders"}
DOCUMENT = document(INFO, CONTRACTS.contracts(), SERVICES, outside.users(SERVICES))


def test_the_java_programs_say_nothing_that_the_document_does_not() -> None:
    said = {literal for text in JAVA for literal in re.findall(r'"([^"\n]+)"', text)}
    subjects = {each for each in said if re.fullmatch(r"[a-z]+\.[a-z_]+", each)} - {"jetmesh.api"}
    headers = DOCUMENT["components"]["schemas"]["headers.from_outside"]["properties"]
    assert {each for each in said if each.startswith(("ce-", "trace"))} <= headers.keys()
    assert subjects <= DOCUMENT["channels"].keys()
    assert {"jetmesh.api", "_INBOX_", "ORDERS"} <= said
    assert all(word in DOCUMENT["servers"]["mesh"]["description"] for word in ("`jetmesh.api`", "`_INBOX_"))
    read = DOCUMENT["operations"]["marketplace.follow.orders.placed"]["x-jetstream-direct-get"]
    assert read == "jetmesh.api.DIRECT.GET.ORDERS.orders.placed.{order_id}"


def test_each_stream_and_each_durable_is_there_as_it_is_made() -> None:
    made = {each.name: each.config for each in topology(SERVICES).streams}
    for name, said in DOCUMENT["x-jetstream-streams"].items():
        assert said == {field: made[name][field] for field in said}
    consumer = DOCUMENT["operations"]["fulfilment.pack.orders.confirmed"]["x-jetstream-consumer"]
    assert consumer == {
        "stream": "ORDERS",
        "durable_name": "fulfilment-pack",
        "ack_policy": "explicit",
        "ack_wait_seconds": 30.0,
        "max_deliver": -1,
        "begins": "beginning",
        "pull": "jetmesh.api.CONSUMER.MSG.NEXT.ORDERS.fulfilment-pack",
    }


def test_a_producer_has_its_operation_on_what_is_taken_from_outside() -> None:
    operation = DOCUMENT["operations"]["marketplace.publish.orders.placed"]
    channel = DOCUMENT["channels"]["orders.placed.from_outside"]
    assert operation["channel"] == {"$ref": "#/channels/orders.placed.from_outside"}
    assert (channel["address"], channel["x-jetstream-stream"]) == ("orders.placed", "INTAKE")


def test_who_may_ask_has_the_request_and_what_answers_it() -> None:
    asks, answers = (
        DOCUMENT["operations"][name] for name in ("marketplace.ask.inventory.stock_of", "inventory.stock_of")
    )
    channel = DOCUMENT["channels"]["inventory.stock_of.request"]
    replies = DOCUMENT["channels"]["inventory.stock_of.reply"]["messages"]
    assert (asks["action"], answers["action"]) == ("send", "receive")
    assert asks["reply"] == answers["reply"]
    assert channel["address"] == "jetmesh.inventory.stock_of"
    assert replies.keys() == {"response", "problem"}
    assert {"StockOf", "Stock", "problem"} <= DOCUMENT["components"]["schemas"].keys()


def test_a_dead_letter_has_the_headers_that_are_written() -> None:
    delivery = RawDelivery("orders.placed", b"", b"", "", "INTAKE", 1, 1, 1.0)
    written = dead_letter.evidence("orders", "place", delivery, ValueError("x"))
    said = DOCUMENT["components"]["schemas"]["dead_letter.headers"]["properties"]
    assert said.keys() == written.keys() | {Jetmesh.FRAME, Jetmesh.TRACEPARENT, Jetmesh.OMITTED_BYTES}


def test_a_reaction_that_listens_is_there_with_the_stream_of_others() -> None:
    made = document(INFO, contracts_of(plant.APP), plant.APP)
    operation = made["operations"]["climate.read.climate.read.foreign"]
    channel = made["channels"]["climate.read.foreign"]
    assert operation["x-jetmesh-may-record"] == ["climate.reading"]
    assert operation["x-jetstream-consumer"]["stream"] == channel["x-jetstream-stream"] == plant.TELEMETRY
    assert channel["address"] == "telemetry.{token_2}.{plant_id}.{line_id}.temp"
    assert channel["parameters"].keys() == {"token_2", "plant_id", "line_id"}


def test_the_page_says_how_to_reach_the_mesh() -> None:
    page = html(DOCUMENT)
    section = page.partition('<section id="reach">')[2].partition("</section>")[0]
    for word in (
        access.REFUSALS[:40],
        "983,040",
        "ORDERS/fulfilment-pack",
        "ce-causationid",
        "Jetmesh-Reason",
        "nkey",
        "jetmesh.inventory.stock_of",
    ):
        assert word in section
