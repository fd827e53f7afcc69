"""What a consumer or a producer outside may be declared, and what is refused, with its file, its field and the fix."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.contracts import outside, package
from jetmesh.contracts.compatibility import Break, Side
from jetmesh.contracts.readers import Readers
from jetmesh.topology import accounts
from jetmesh.topology.outside import OutsideUser
from jetmesh_shop.flow import SERVICES

CONTRACTS = package.load("jetmesh_contracts")
CONSUMER = """\
team: packing
contact: packing@example.com
events:
  orders.confirmed: [order_id]
  payments.captured: [order_id]
"""
PRODUCER = """\
team: packing
contact: packing@example.com
events: [orders.placed]
"""


def declared(folder: Path, consumer: str = "", producer: str = "", name: str = "packing") -> list[OutsideUser]:
    """The users that these files declare."""
    for kind, text in (("consumers", consumer), ("producers", producer)):
        if text:
            (folder / kind).mkdir()
            (folder / kind / f"{name}.yaml").write_text(text)
    return outside.users_of(replace(CONTRACTS, folder=folder), SERVICES)


def test_a_team_may_pull_its_durables_read_what_is_newest_and_publish(tmp_path: Path) -> None:
    asked = f"{CONSUMER}follows: [payments.captured]\ndurables:\n  pack:\n    events: [orders.confirmed]\n"
    (user,) = declared(tmp_path, f"{asked}    since: 2026-11-01T00:00:00Z\n", PRODUCER)
    assert [imported.subject for imported in accounts.outside_imports(user, {"PAYMENTS": 2})] == [
        "orders.placed",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.packing-pack",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.packing-pack",
        "$JS.ACK.ORDERS.packing-pack.>",
        "$JS.API.CONSUMER.INFO.ORDERS.packing-pack",
        "$JS.API.DIRECT.GET.PAYMENTS-0.payments.captured.*",
        "$JS.API.DIRECT.GET.PAYMENTS-1.payments.captured.*",
    ]


def test_who_only_says_what_it_reads_gets_no_account(tmp_path: Path) -> None:
    assert declared(tmp_path, CONSUMER) == []


def durable(events: str, name: str = "pack", more: str = "") -> str:
    return f"{CONSUMER}durables:\n  {name}:\n    events: {events}\n{more}"


WRONG = {
    "unknown event": (
        CONSUMER.replace("orders.confirmed", "orders.confirmd"),
        r"packing\.yaml: events: no event orders\.confirmd",
    ),
    "unknown field": (
        CONSUMER.replace("[order_id]", "[order]"),
        r"packing\.yaml: events: orders\.confirmed has no field order",
    ),
    "a durable of what is not read": (
        durable("[orders.placed]"),
        r"durables\.pack\.events: orders\.placed is not under `events`: name there",
    ),
    "a durable of two owners": (
        durable("[orders.confirmed, payments.captured]"),
        "name events of one owner; make a durable for each",
    ),
    "a durable of nothing": (durable("[]"), r"durables\.pack\.events: name events of one owner"),
    "a name that is no token": (durable("[orders.confirmed]", "Pack it"), "durables.Pack it: name it with small"),
    "a time to come": (
        durable("[orders.confirmed]", more="    since: 2126-01-01T00:00:00Z\n"),
        r"durables\.pack\.since: .*write \"now\", \"beginning\" or a time with its zone",
    ),
    "a time without a zone": (
        durable("[orders.confirmed]", more="    since: 2026-01-01T00:00:00\n"),
        r"durables\.pack\.since: .*write \"now\"",
    ),
    "an unknown member": (f"{CONSUMER}durable: x\n", "durable: .*; it may have team, contact, purpose, events, durab"),
    "an unknown endpoint": (
        f"{CONSUMER}follows: [orders.confirmed]\nasks: [orders.where]\n",
        r"packing\.yaml: asks: no service of this app answers orders\.where; there are inventory\.stock_of",
    ),
    "what is followed and not read": (f"{CONSUMER}follows: [orders.placed]\n", "follows: orders.placed is not under"),
    "no list": ("- team\n", "packing.yaml: "),
    "no YAML": ("team: [", "packing.yaml: "),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_consumer_is_refused(tmp_path: Path, what: str) -> None:
    text, words = WRONG[what]
    with pytest.raises(ValueError, match=words):
        declared(tmp_path, text)


def test_what_another_app_owns_is_refused(tmp_path: Path) -> None:
    """Two apps share a package: what asks for both is refused, what asks for the other one is that one's."""
    orders = [service for service in SERVICES if service.name == "orders"]
    both = durable("[orders.confirmed]", more="  book:\n    events: [payments.captured]\n")
    (tmp_path / "consumers").mkdir()
    file = tmp_path / "consumers" / "packing.yaml"
    shared = replace(CONTRACTS, folder=tmp_path)
    file.write_text(both)
    with pytest.raises(ValueError, match=r"book\.events: payments\.captured is of payments, a service of another app"):
        outside.users_of(shared, orders)
    file.write_text(durable("[payments.captured]"))
    assert outside.users_of(shared, orders) == []


@pytest.mark.parametrize("name", ["orders", "client", "client-berlin", "operator", "mesh", "payments-micro"])
def test_a_name_of_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}\.yaml: team: '{name}' is a user of .*: give the team and its file"):
        declared(tmp_path, producer=PRODUCER.replace("packing\n", f"{name}\n"), name=name)


def test_the_file_has_the_name_of_the_team(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"other\.yaml: team: 'packing' is also the name of a user: the file's name"):
        declared(tmp_path, producer=PRODUCER, name="other")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("orders.plaecd", "events: no event orders.plaecd; there are"),
        ("orders.confirmed", "events: orders.confirmed is taken from outside by no service of this app; there are"),
    ],
)
def test_a_producer_publishes_what_is_taken_from_outside(tmp_path: Path, event: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        declared(tmp_path, producer=PRODUCER.replace("orders.placed", f"orders.placed, {event}"))


def test_lint_names_the_file_of_a_wrong_declaration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "producers").mkdir()
    (tmp_path / "producers" / "packing.yaml").write_text(PRODUCER.replace("placed", "plaecd"))
    monkeypatch.setattr(package, "load", lambda _="": replace(CONTRACTS, folder=tmp_path))
    done = CliRunner().invoke(commands, ["contracts", "lint"])
    assert "producers/packing.yaml: events: no event orders.plaecd" in done.output.replace("\n", "")
    assert done.exit_code == 1


def test_a_break_for_who_publishes_names_the_teams() -> None:
    placed = CONTRACTS.contracts()["orders.placed"]
    found = Break(placed.type, "note", "field-required", Side.PRODUCER, "")
    known = Readers(SERVICES, (), outside.producers(CONTRACTS.folder / "producers"))
    assert known.broken(found, placed) == [
        "orders",
        "marketplace (integration-of-marketplace@example.com)",
        "any client that publishes orders.placed from outside",
    ]
