"""What must hold of couriers and of the orders that they carry: each check names what offends against it."""

from collections.abc import Iterator, Sequence

from jetmesh.operate.books import Fact
from jetmesh.operate.checks import Check, Offences, lost
from jetmesh_contracts import delivery, notifications, payments
from jetmesh_shop.delivery.domain import DEPOT
from jetmesh_shop.delivery.service import delivery as service
from jetmesh_shop.reference.books import ShopBooks

CAPTURED = payments.PaymentCaptured.type
QUEUED, DISPATCHED = delivery.DeliveryQueued.type, delivery.DeliveryDispatched.type
DELIVERED, CALLED_OFF = delivery.OrderDelivered.type, delivery.DeliveryCancelled.type
MISSED, REASSIGNED = delivery.CourierMissed.type, delivery.DeliveryReassigned.type
SEEN = delivery.CourierSeen.type
DELAYED, DELAY_MAIL = delivery.DeliveryDelayed.type, notifications.DelaySent.type
ROSTER = delivery.CourierRoster.type


def one_order_each(books: ShopBooks) -> Offences:
    """no courier carries two orders at once, and nobody delivers an order who never carried it"""
    carried: dict[str, str] = {}
    silent: dict[str, list[str]] = {}
    for event in _in_order(books, DISPATCHED, REASSIGNED, DELIVERED, CALLED_OFF):
        courier_id = event.body.get("courier_id", "")
        carrier = carried.pop(event.key, "")
        if event.type in (DISPATCHED, REASSIGNED):
            silent[event.key] = event.body.get("silent", [])
            for other in (order_id for order_id, carries in carried.items() if carries == courier_id):
                yield f"{event.key}: {courier_id} was given it while carrying {other}"
            if courier_id:
                carried[event.key] = courier_id
        elif event.type == DELIVERED and courier_id not in (carrier, *silent.get(event.key, ())):
            yield f"{event.key}: was delivered by {courier_id}, and carried by {carrier or 'nobody'}"


def nobody_who_is_missed_keeps_an_order(books: ShopBooks) -> Offences:
    """no courier who is missed keeps an order"""
    missing = lost(books)
    signs = {event.key: event.body["signs"] for event in _in_order(books, REASSIGNED, SEEN)}
    for event in books.of_type(MISSED):
        is_over = {DELIVERED, CALLED_OFF} & (books.stories[event.key].keys() | missing[event.key])
        if event.body["signs"] == signs.get(event.key, 0) and not is_over and REASSIGNED not in missing[event.key]:
            yield f"{event.key}: {event.body['courier_id']} is missed, and still carries it"


def paid_orders_are_delivered(books: ShopBooks) -> Offences:
    """every paid order waits for a courier, is carried, delivered or called off"""
    missing, known = lost(books), {QUEUED, DISPATCHED, DELIVERED, CALLED_OFF}
    # What was paid before there was a delivery is not its concern (`since`).
    began = min((event.unix_nano for event in books.events if event.stream == service.stream), default=0)
    for event in books.of_type(CAPTURED) if began else ():
        if event.unix_nano > began and not known & (books.stories[event.key].keys() | missing[event.key]):
            yield f"{event.key}: is paid, and delivery knows nothing of it"


def roster_agrees(books: ShopBooks) -> Offences:
    """the roster agrees with what happened, and no order waits while a courier is free"""
    rosters = [event for event in _in_order(books, ROSTER) if event.key == DEPOT]
    if not rosters:
        return
    roster = rosters[-1]
    waiting, carried = _open(books)
    rides = {ride["order_id"]: ride["courier_id"] for ride in roster.body["rides"]}
    for order_id in sorted({order_id for order_id, _ in rides.items() ^ carried.items()}):
        yield f"{order_id}: the roster says that it is carried by {rides.get(order_id, 'nobody')}"
    if roster.body["waiting"] != len(waiting):
        yield f"{roster}: says that {roster.body['waiting']} orders wait, and {len(waiting)} do"
    free = {duty["courier_id"] for duty in roster.body["on_duty"]} - set(rides.values())
    if waiting and free:
        yield f"{min(waiting)}: waits while {min(free)} is free"


def delayed_are_told(books: ShopBooks) -> Offences:
    """every customer whose order is delayed is told"""
    missing = lost(books)
    for key, story in books.stories.items():
        if DELAYED in story and DELAY_MAIL not in story.keys() | missing[key]:
            yield f"{key}: is delayed, but there is no {DELAY_MAIL}"


def _open(books: ShopBooks) -> tuple[set[str], dict[str, str]]:
    """The orders that wait, and those that are carried, by whom."""
    waiting, carried = set(), {}
    reassigned = {event.key: event.body["courier_id"] for event in _in_order(books, REASSIGNED)}
    for key, story in books.stories.items():
        if {DELIVERED, CALLED_OFF} & story.keys():
            continue
        if courier_id := reassigned.get(key, story[DISPATCHED].body["courier_id"] if DISPATCHED in story else ""):
            carried[key] = courier_id
        elif {DISPATCHED, QUEUED} & story.keys():
            waiting.add(key)
    return waiting, carried


def _in_order(books: ShopBooks, *types: str) -> Sequence[Fact]:
    found: Iterator[Fact] = books.of_type(*types)
    return sorted(found, key=lambda event: event.sequence)


CHECKS: Sequence[Check[ShopBooks]] = (
    paid_orders_are_delivered,
    one_order_each,
    nobody_who_is_missed_keeps_an_order,
    roster_agrees,
    delayed_are_told,
)
RESTORED: Sequence[Check[ShopBooks]] = (one_order_each, roster_agrees)
"""What streams that were just restored must keep."""
