"""The books of the order mesh: read from the streams, the bank, the mail and the warehouse alone."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jetmesh.jetstream.delivery import derived_id
from jetmesh.testing.simulation import Broker
from jetmesh.testing.simulation.stream import Kept
from tests.simulation.outside import SimulatedBank, SimulatedMailer, SimulatedWarehouse

RECORDING = ("ORDERS", "PAYMENTS", "INVENTORY", "NOTIFICATIONS")
STATE = "stock.level"


@dataclass(frozen=True, slots=True)
class Books:
    """What an auditor looks at; `acked` are the ids of the orders whose placing was acknowledged."""

    broker: Broker
    bank: SimulatedBank
    mailer: SimulatedMailer
    warehouse: SimulatedWarehouse
    acked: frozenset[str]

    def events(self, *streams: str) -> list[Kept]:
        """Everything in some streams."""
        return [kept for name in streams for kept in self.broker.streams[name].messages.values()]


def type_of(kept: Kept) -> str:
    """The type that the subject says."""
    return ".".join(kept.subject.split(".")[:2])


def key_of(kept: Kept) -> str:
    """The key that the subject says."""
    return kept.subject.rpartition(".")[2]


def safety(books: Books) -> Iterator[str]:
    """What must hold at any moment."""
    yield from recorded_once(books)
    yield from never_below_zero(books)
    yield from charged_once(books)
    yield from placed_once(books)
    yield from one_end(books)


def audit(books: Books) -> list[str]:
    """What is wrong in a mesh that is at rest; nothing if the books balance."""
    checks = (safety, ended, money, goods, known, caused, letters, mails, accounted, warehoused)
    return [wrong for check in checks for wrong in check(books)]


def recorded_once(books: Books) -> Iterator[str]:
    """Each type of event happens at most once per key; a level is a state."""
    for subject, times in Counter(kept.subject for kept in books.events(*RECORDING)).items():
        if times > 1 and not subject.startswith(f"{STATE}."):
            yield f"recorded {times} times: {subject}"


def never_below_zero(books: Books) -> Iterator[str]:
    """No level of any article was ever negative."""
    for kept in books.events("INVENTORY"):
        if type_of(kept) == STATE and json.loads(kept.data)["available"] < 0:
            yield f"below zero: {kept.subject} at {kept.sequence}"


def charged_once(books: Books) -> Iterator[str]:
    """The bank held, took and gave back the money of an order at most once each."""
    for (key, kind), times in Counter((key, kind) for key, kind, _ in books.bank.movements).items():
        if times > 1:
            yield f"{kind} {times} times: {key}"


def placed_once(books: Books) -> Iterator[str]:
    """One message from outside never becomes two orders."""
    placed = [kept for kept in books.events("ORDERS") if type_of(kept) in ("orders.placed", "orders.refused")]
    causes = Counter(cause for kept in placed if (cause := kept.headers["ce-causationid"]))
    for cause, times in causes.items():
        if times > 1:
            yield f"{times} orders of one message: {cause}"


def types_of(books: Books) -> dict[str, set[str]]:
    """Per order, the types of what was recorded about it."""
    found: dict[str, set[str]] = defaultdict(set)
    for kept in books.events(*RECORDING):
        if not kept.subject.startswith("stock."):
            found[key_of(kept)].add(type_of(kept))
    return found


def is_kept(types: set[str]) -> bool:
    """Whether an order was promised, and stays so."""
    return "orders.confirmed" in types and "orders.cancelled" not in types


def one_end(books: Books) -> Iterator[str]:
    """No two facts that exclude each other; a confirmed order is cancelled only where payments gave it up."""
    exclusive = (
        ("orders.placed", "orders.refused"), ("payments.authorized", "payments.declined"),
        ("payments.captured", "payments.voided"), ("payments.captured", "payments.capture_failed"),
        ("payments.captured", "orders.cancelled"), ("inventory.reserved", "inventory.rejected"),
    )  # fmt: skip
    for key, types in types_of(books).items():
        for one, other in exclusive:
            if {one, other} <= types:
                yield f"both {one} and {other}: {key}"
        if {"orders.confirmed", "orders.cancelled"} <= types and "payments.capture_failed" not in types:
            yield f"confirmed and cancelled: {key}"


def ended(books: Books) -> Iterator[str]:
    """Each order that was taken has an end, and each that was acknowledged was taken or refused."""
    types = types_of(books)
    for key, found in types.items():
        if "orders.placed" in found and not found & {"orders.confirmed", "orders.cancelled"}:
            yield f"never ended: {key} ({', '.join(sorted(found))})"
    for key in books.acked:
        if not types[key] & {"orders.placed", "orders.refused"}:
            yield f"acknowledged and lost: {key}"


def money(books: Books) -> Iterator[str]:
    """Confirmed: taken once. Cancelled or refused: nothing is held. What was recorded is what the bank did."""
    moved: dict[str, set[str]] = defaultdict(set)
    for key, kind, _ in books.bank.movements:
        moved[key].add(kind)
    for key, types in types_of(books).items():
        kept = is_kept(types)
        if kept and not (moved[key] == {"held", "captured"} and "payments.captured" in types):
            yield f"confirmed, but its money is {sorted(moved[key])}: {key}"
        if not kept and moved[key] not in (set(), {"held", "released"}):
            yield f"not kept, but its money is {sorted(moved[key])}: {key}"
        if "orders.cancelled" in types and not types & {"payments.voided", "payments.declined"}:
            yield f"cancelled, and its payment is never closed: {key}"


def goods(books: Books) -> Iterator[str]:
    """What arrived is on the shelf or with an order that is kept."""
    free, arrived, taken = Counter[str](), Counter[str](), Counter[str]()
    for kept in books.events("INVENTORY"):
        body = json.loads(kept.data)
        match type_of(kept):
            case "stock.level":
                free[body["sku"]] = body["available"]
            case "stock.restocked":
                arrived[body["sku"]] += body["quantity"]
            case "inventory.reserved":
                taken.update({item["sku"]: item["quantity"] for item in body["goods"]})
            case "inventory.released":
                taken.subtract({item["sku"]: item["quantity"] for item in body["goods"]})
    for sku in free.keys() | arrived.keys() | taken.keys():
        if free[sku] + taken[sku] != arrived[sku]:
            yield f"{sku}: {arrived[sku]} arrived, {free[sku]} are free, {taken[sku]} are taken"
    for key, types in types_of(books).items():
        if "inventory.reserved" in types and is_kept(types) == ("inventory.released" in types):
            yield f"its goods are {'gone' if is_kept(types) else 'still reserved'}: {key}"


def known(books: Books) -> Iterator[str]:
    """Nothing happened to an order that nobody placed."""
    for key, types in types_of(books).items():
        if not types & {"orders.placed", "orders.refused"}:
            yield f"nobody placed {key}: {', '.join(sorted(types))}"
    for key in {key for key, _, _ in books.bank.movements} - types_of(books).keys():
        yield f"the bank knows {key}, and nobody else does"


def intake_id(kept: Kept) -> str:
    """The id that a message from outside without headers gets."""
    return kept.headers.get("ce-id") or derived_id("INTAKE", str(int(kept.time * 1e9) / 1e9), str(kept.sequence))


def caused(books: Books) -> Iterator[str]:
    """Each event names a cause that is there; only what the edge recorded has none."""
    ids = {kept.headers["ce-id"] for kept in books.events(*RECORDING)}
    ids |= {intake_id(kept) for kept in books.events("INTAKE")}
    for kept in books.events(*RECORDING):
        cause = kept.headers["ce-causationid"]
        if cause and cause not in ids:
            yield f"its cause is not there: {kept.subject}"


def letters(books: Books) -> Iterator[str]:
    """A dead letter points to its source, and nothing is given up that could have been handled."""
    for kept in books.events("DEAD_LETTERS"):
        headers = kept.headers
        source = books.broker.streams[headers["Jetmesh-Stream"]].messages.get(int(headers["Jetmesh-Sequence"]))
        if source is None:
            yield f"a dead letter without a source: {kept.subject}"
        elif headers["Jetmesh-Stream"] != "INTAKE":
            yield f"given up: {kept.subject} {headers['Jetmesh-Error-Type']}: {headers['Jetmesh-Reason']}"


def mails(books: Books) -> Iterator[str]:
    """Each end was told to the customer, and each mail that is recorded went out."""
    expected = {
        "orders.confirmed": "notifications.confirmation_sent", "orders.cancelled": "notifications.cancellation_sent",
        "orders.refused": "notifications.cancellation_sent", "payments.captured": "notifications.receipt_sent",
    }  # fmt: skip
    for key, types in types_of(books).items():
        for event in types & expected.keys():
            if expected[event] not in types:
                yield f"{event}, and nobody told the customer: {key}"
    taken = {mail.message_id for mail in books.mailer.taken}
    for kept in books.events("NOTIFICATIONS"):
        if json.loads(kept.data)["message_id"] not in taken:
            yield f"recorded, but never sent: {kept.subject}"


def accounted(books: Books) -> Iterator[str]:
    """Whatever came from outside was recorded by its owner, found to be settled, or is a dead letter."""
    graves = [kept.headers for kept in books.events("DEAD_LETTERS")]
    buried = {int(grave["Jetmesh-Sequence"]) for grave in graves if grave["Jetmesh-Stream"] == "INTAKE"}
    subjects = {kept.subject for kept in books.events(*RECORDING)}
    outcomes = {
        "orders.placed": ("orders.placed", "orders.refused"), "stock.restocked": ("stock.restocked",),
        "orders.cancellation_requested": ("orders.cancelled", "orders.refused", "orders.cancellation_requested"),
    }  # fmt: skip
    for kept in books.events("INTAKE"):
        if kept.sequence in buried:
            continue
        key = _key_of_body(kept)
        if not any(f"{outcome}.{key}" in subjects for outcome in outcomes[kept.subject]):
            yield f"came in and vanished: {kept.subject} {kept.sequence} about {key}"


def _key_of_body(kept: Kept) -> str:
    try:
        body: dict[str, Any] = json.loads(kept.data)
    except ValueError:
        return "nobody can say what"
    key: str = body.get("order_id") or body.get("restock_id") or ""
    return key or derived_id("INTAKE", str(int(kept.time * 1e9) / 1e9), str(kept.sequence))


def warehoused(books: Books) -> Iterator[str]:
    """Analytics has everything that was recorded."""
    for name in RECORDING:
        stored = {sequence for stream, sequence in books.warehouse.kept if stream == name}
        if missing := books.broker.streams[name].messages.keys() - stored:
            yield f"analytics lacks {name} {sorted(missing)[:5]}"
