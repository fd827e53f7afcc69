"""The audit finds what it must: clean books stay clean, and each thing done to them is named with the order's id."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jetmesh.jetstream.delivery import id_of_place
from jetmesh.operate.books import Fact, Letter
from jetmesh.runtime.origin import Origin
from jetmesh_shop.payments.ledger import Balance
from jetmesh_shop.reference.audit import AUDIT
from jetmesh_shop.reference.books import ShopBooks

STREAMS = {"orders": "ORDERS", "payments": "PAYMENTS", "inventory": "INVENTORY", "stock": "INVENTORY"}
GOODS = [{"sku": "cola", "quantity": 2}]
LINES = [{"sku": "cola", "quantity": 2, "unit_price_minor": 290}]
PRICE_MINOR = 580


def fact(event_type: str, key: str, cause: str = "", stream: str = "", **body: Any) -> Fact:
    entity = event_type.partition(".")[0]
    subject = f"{event_type}.{key}" if key else event_type
    sequence = 1 + sum(map(ord, subject))
    place = stream or STREAMS.get(entity, "NOTIFICATIONS")
    return Fact(place, sequence, subject, event_type, key, sequence, f"id-{subject}", cause, "", body)


def traced(fact: Fact, trace_id: str) -> Fact:
    return replace(fact, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")


def mail(kind: str, order_id: str, cause: str) -> Fact:
    return fact(f"notifications.{kind}_sent", order_id, cause, message_id=f"<{kind}.{order_id}@mail.test>")


def outside(order_id: str) -> Fact:
    return replace(fact("orders.placed", "", stream="INTAKE", order_id=order_id), sequence=7)


def confirmed() -> list[Fact]:
    """The story of o-1: placed from outside, and all went well."""
    placed = "id-orders.placed.o-1"
    return [
        fact("orders.placed", "o-1", "id-orders.placed", lines=LINES),
        fact("payments.authorized", "o-1", placed, amount_minor=PRICE_MINOR),
        fact("inventory.reserved", "o-1", placed, goods=GOODS),
        fact("orders.confirmed", "o-1", "id-payments.authorized.o-1"),
        fact("payments.captured", "o-1", "id-orders.confirmed.o-1", amount_minor=PRICE_MINOR),
        mail("confirmation", "o-1", "id-orders.confirmed.o-1"),
        mail("receipt", "o-1", "id-payments.captured.o-1"),
    ]


def cancelled() -> list[Fact]:
    """The story of o-2: placed over HTTP, declined."""
    placed, end = "id-orders.placed.o-2", "id-orders.cancelled.o-2"
    return [
        fact("orders.placed", "o-2", lines=LINES),
        fact("payments.declined", "o-2", placed),
        fact("inventory.reserved", "o-2", placed, goods=GOODS),
        fact("orders.cancelled", "o-2", "id-payments.declined.o-2"),
        fact("inventory.released", "o-2", end, goods=GOODS),
        mail("cancellation", "o-2", end),
    ]


def stock(level: int) -> list[Fact]:
    delivered = fact("stock.restocked", "r-1", "id-stock.restocked", sku="cola", quantity=10)
    return [delivered, fact("stock.level", "cola", "id-orders.placed.o-1", available=level)]


def balance(key: str, held: int, captured: int, captures: int = 1) -> Balance:
    return Balance(key, "EUR", held, captured, 0, 1, captures, 0)


def books(*, without: str = "", more: tuple[Fact, ...] = (), level: int = 8, **changes: Any) -> ShopBooks:
    """Two orders in good order, but for what is changed."""
    intake = [outside("o-1"), replace(restock("r-1"), sequence=3)]
    events = [event for event in [*confirmed(), *cancelled(), *stock(level)] if event.subject != without]
    mails = Counter(e.body["message_id"] for e in events if "message_id" in e.body)
    given: dict[str, Any] = {
        "balances": [balance("o-1", PRICE_MINOR, PRICE_MINOR)],
        "mails": mails,
        "letters": [],
        "intake": intake,
    }
    return ShopBooks(events=[*events, *more], **(given | changes))


def offences(collected: ShopBooks) -> dict[str, list[str]]:
    return {found.check: list(found.offences) for found in AUDIT.of(collected).findings if found.offences}


def test_books_in_good_order_are_clean() -> None:
    assert offences(books()) == {}


LETTER = Letter(1, 1, "dead.orders.place.INTAKE.99", "orders.place", ("INTAKE", 99), "orders.placed", "body: not JSON")
TWO_TRACES = (
    traced(fact("orders.confirmed", "o-1", "id-payments.authorized.o-1"), "1" * 32),
    traced(fact("orders.goods_secured", "o-1", "id-inventory.reserved.o-1"), "2" * 32),
)
MAILED = Counter({f"<{kind}.o-1@mail.test>": 1 for kind in ("confirmation", "receipt")})


@pytest.mark.parametrize(
    ("change", "words", "culprit"),
    [
        (lambda: books(intake=[outside("o-1"), outside("o-9")]), "acknowledged", "o-9"),
        (lambda: books(without="orders.confirmed.o-1"), "exactly one end", "o-1: has not ended"),
        (lambda: books(more=(fact("orders.cancelled", "o-1", "id-orders.placed.o-1"),)), "exactly one end", "o-1"),
        (lambda: books(more=(fact("orders.refused", "o-1"),)), "exactly one end", "o-1: was placed and refused"),
        (lambda: books(without="payments.captured.o-1"), "its effects", "o-1"),
        (lambda: books(without="inventory.released.o-2"), "its effects", "o-2"),
        (lambda: books(without="payments.declined.o-2"), "its effects", "payments.voided"),
        (lambda: books(more=(confirmed()[4],)), "recorded once", "payments.captured.o-1"),
        (lambda: books(more=(fact("orders.goods_secured", "o-1", "id-nobody"),)), "its cause", "id-nobody"),
        (
            lambda: books(more=(fact("payments.voided", "o-9", "id-orders.placed.o-1"),)),
            "never placed",
            "o-9: has payments.voided",
        ),
        (
            lambda: books(balances=[balance("o-1", PRICE_MINOR, PRICE_MINOR), balance("o-9", 1, 1)]),
            "never placed",
            "o-9: the bank",
        ),
        (lambda: books(balances=[balance("o-1", PRICE_MINOR, 1160, captures=2)]), "charged twice", "o-1"),
        (lambda: books(balances=[balance("o-1", PRICE_MINOR, 0, captures=0)]), "money held", "o-1: 580 of 580"),
        (lambda: books(balances=[balance("o-1", 570, 570)]), "ledger", "o-1: the bank took 570"),
        (lambda: books(balances=[]), "ledger", "o-1: payments.captured, but the bank took nothing"),
        (lambda: books(level=-1), "below zero", "cola"),
        (lambda: books(level=9), "restocked", "cola: restocked 10, on the shelf 9, but 2 went out"),
        (lambda: books(more=(fact("inventory.released", "o-1", goods=GOODS),)), "goods of", "o-1"),
        (lambda: books(mails=Counter({**MAILED, "<receipt.o-1@mail.test>": 2})), "no mail went out twice", "2 copies"),
        (lambda: books(mails=MAILED), "every mail", "o-2: notifications.cancellation_sent"),
        (lambda: books(letters=[LETTER]), "dead letter", "INTAKE 99"),
        (lambda: books(intake=[*books().intake, restock("r-9")]), "acknowledged", "r-9"),
        (lambda: books(intake=[*books().intake, request("o-1")]), "acknowledged", "o-1: orders.cancellation_requested"),
        (lambda: books(intake=[*books().intake, strange()]), "acknowledged", "orders.nonsense (INTAKE"),
        (
            lambda: books(delayed=[Origin("orders", "place", "INTAKE", 7)]),
            "is delayed",
            "INTAKE 7: waits for orders.place",
        ),
        (
            lambda: books(more=(replace(fact("orders.cancelled", "o-1"), wrong="body: not JSON"),)),
            "keeps its contract",
            "orders.cancelled.o-1",
        ),
        (
            lambda: books(without="orders.confirmed.o-1", more=TWO_TRACES),
            "one trace",
            "o-1: its events are of 2 traces",
        ),
    ],
)
def test_the_audit_names_the_offence(change: Callable[[], ShopBooks], words: str, culprit: str) -> None:
    found = [(check, offence) for check, named in offences(change()).items() for offence in named]
    assert [offence for check, offence in found if words in check and culprit in offence], found


def restock(key: str) -> Fact:
    return replace(fact("stock.restocked", "", stream="INTAKE", restock_id=key), sequence=11)


def request(key: str) -> Fact:
    return replace(fact("orders.cancellation_requested", "", stream="INTAKE", order_id=key), sequence=12)


def strange() -> Fact:
    return replace(fact("orders.nonsense", "", stream="INTAKE", order_id=["x"]), sequence=13)


def discarded(reaction: str, source: Fact) -> Letter:
    position = source.position
    return Letter(2, 2, f"dead_log.{reaction}.{position[0]}.{position[1]}", reaction, position, source.subject, "")


@pytest.mark.parametrize(
    ("message", "reaction"),
    [(outside("o-9"), "orders.place"), (restock("r-9"), "inventory.shelve"), (strange(), "orders.place")],
    ids=["order", "restock", "strange"],
)
def test_what_was_discarded_is_no_offence_for_ever(message: Fact, reaction: str) -> None:
    message = replace(message, sequence=99)
    asked = [*books().intake, message]
    assert offences(books(intake=asked))
    assert offences(books(intake=asked, discarded=[discarded(reaction, message)])) == {}


@pytest.mark.parametrize(
    ("missing", "reaction", "cause"),
    [
        ("notifications.receipt_sent.o-1", "notifications.thank", "payments.captured"),
        ("inventory.released.o-2", "inventory.shelve", "orders.cancelled"),
    ],
)
def test_what_would_have_followed_from_a_discarded_letter_is_not_missed(
    missing: str, reaction: str, cause: str
) -> None:
    found = books(without=missing)
    key = missing.rpartition(".")[2]
    assert offences(found)
    found.discarded.append(discarded(reaction, found.stories[key][cause]))
    assert not [offence for named in offences(found).values() for offence in named if "there is no" in offence]


def test_a_cancellation_of_an_order_that_was_archived_comes_too_late() -> None:
    found = books(intake=[*books().intake, request("o-1")])
    assert offences(found)
    assert offences(replace(found, gone=frozenset({found.stories["o-1"]["orders.placed"].position}))) == {}


def test_a_message_without_a_key_is_known_by_where_it_stands() -> None:
    message = replace(fact("orders.placed", "", stream="INTAKE"), id="chosen")
    assert books().named(message) == id_of_place("INTAKE", message.unix_nano / 1e9, message.sequence)


def test_an_order_buried_as_a_dead_letter_is_not_lost() -> None:
    buried = replace(outside("o-9"), sequence=99)
    assert offences(books(intake=[*books().intake, buried], letters=[LETTER])) == {}
