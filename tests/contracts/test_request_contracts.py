"""Requests and their responses are released and compared as events are: what a change breaks names who asks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from jetmesh.contracts import lint, releases
from jetmesh.contracts.compatibility import check, unrecorded
from jetmesh.contracts.package import Package, load
from jetmesh.contracts.readers import Producer, Reader, Readers, counted
from jetmesh.contracts.request_contract import request_contracts
from jetmesh.contracts.schema import Contracts
from jetmesh_contracts import EVENTS, REQUESTS, Request, Token
from jetmesh_shop.flow import SERVICES

Pieces = Annotated[int, Field(ge=0, description="How many.", json_schema_extra={"x-unit": "pieces"})]


class Seats(BaseModel):
    """The free seats of a show."""

    model_config = ConfigDict(extra="forbid")

    show_id: Token
    free: Pieces


class SeatsOf(Request[Seats], type="inventory.seats_of", key_field="show_id"):
    """How many seats are free?"""

    show_id: Token


class FewerSeats(BaseModel):
    """The response lost a field."""

    model_config = ConfigDict(extra="forbid")

    show_id: Token


class FewerSeatsOf(Request[FewerSeats], type="inventory.seats_of", key_field="show_id"):
    """How many seats are free?"""

    show_id: Token


class SeatsInRowOf(Request[Seats], type="inventory.seats_of", key_field="show_id"):
    """The request needs one field more."""

    show_id: Token
    row: Pieces


class NamelessOf(Request[Seats], type="inventory.seats_of", key_field="show"):
    show: str


SHOP = Reader(team="shop", contact="shop@example.com", events={}, asks=("inventory.seats_of",))
STALL = Producer(team="stall", contact="stall@example.com", events=(), asks=("inventory.seats_of",))
STRANGER = Reader(team="stranger", contact="s@example.com", events={}, asks=("inventory.stock_of",))
ASKERS = ["shop (shop@example.com)", "stall (stall@example.com)"]
READERS = Readers((), (SHOP, STRANGER), (STALL,))


def _contracts(request: Any) -> Contracts:
    return {each.type: each for each in request_contracts(request)}


OLD = _contracts(SeatsOf)


def _broken(new: Contracts) -> list[tuple[str, str, str, list[str]]]:
    found = counted(check(new, [OLD]), READERS, OLD)
    return [(each.event, each.rule, each.field, whom) for each, whom in found]


@pytest.mark.parametrize(
    ("new", "broken"),
    [
        (_contracts(SeatsOf), []),
        (_contracts(FewerSeatsOf), [("inventory.seats_of.response", "field-removed", "free", ASKERS)]),
        (_contracts(SeatsInRowOf), [("inventory.seats_of.request", "field-required", "row", ASKERS)]),
        (
            {},
            [
                ("inventory.seats_of.request", "request-removed", "", ASKERS),
                ("inventory.seats_of.response", "request-removed", "", ASKERS),
            ],
        ),
    ],
    ids=["the same", "a field less in the response", "a field more in the request", "removed"],
)
def test_what_a_change_breaks_names_who_asks(new: Contracts, broken: list[Any]) -> None:
    assert _broken(new) == broken


def test_a_wider_request_is_refused_by_the_older_endpoint() -> None:
    asked = OLD["inventory.seats_of.request"]
    producer = json.loads(json.dumps(asked.producer))
    producer["properties"]["show_id"]["maxLength"] = 100
    wider = {**OLD, asked.type: replace(asked, producer=producer)}
    assert _broken(wider) == [("inventory.seats_of.request", "length-widened", "show_id", ["inventory"])]


def test_a_request_that_no_service_answers_is_told() -> None:
    names = {"inventory.seats_of.response", "inventory.stock_of.response"}
    contracts = {**OLD, **_contracts(REQUESTS[0])}
    found = unrecorded({name: contracts[name] for name in names}, SERVICES)
    assert [(each.event, each.rule) for each in found] == [("inventory.seats_of.response", "not-answered")]


def test_fields_of_requests_are_linted() -> None:
    found = [*lint.lint(_contracts(NamelessOf)), *lint.lint_classes([NamelessOf])]
    assert [(each.rule, each.event, each.field) for each in found] == [
        ("described", "inventory.seats_of.request", ""),
        ("described", "inventory.seats_of.request", "show"),
    ]


def test_a_release_holds_the_requests(tmp_path: Path) -> None:
    package = load("jetmesh_contracts")
    assert (package.events, package.requests) == (EVENTS, REQUESTS)
    here = Package(package.name, package.events, package.folder, package.requests).release()
    releases.write(tmp_path, "1.0.0", here)
    (written,) = releases.released(tmp_path)
    assert written == here
    assert {name for name, each in written.items() if each.part} == {
        "inventory.stock_of.request",
        "inventory.stock_of.response",
    }
