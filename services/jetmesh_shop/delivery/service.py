"""Give an order that is confirmed and paid to a courier who is free, follow it, take it from who is silent."""

from collections.abc import Sequence
from datetime import UTC, datetime

from jetmesh import Fold, Retry, Service, Snapshot
from jetmesh_contracts import (
    CourierMissed,
    CourierRoster,
    CourierSeen,
    DeliveryCancelled,
    DeliveryDelayed,
    DeliveryDispatched,
    DeliveryQueued,
    DeliveryReassigned,
    OrderCancelled,
    OrderDelivered,
    PaymentCaptured,
    PositionReported,
    QueuePage,
    ShiftBegun,
    ShiftEnded,
)
from jetmesh_shop.delivery import domain
from jetmesh_shop.delivery.domain import DEPOT, Known, Trip, Unread

SHORT = Retry(longest_seconds=10)
"""What a courier says may be ahead of the story that is read, but not for long."""

BEGAN = datetime(2026, 11, 30, tzinfo=UTC)
"""Since when there is a delivery: what was paid before was carried by somebody else."""

delivery = Service("delivery")


@delivery.on_many(retry=SHORT, since=BEGAN)
async def dispatch(
    arrived: Sequence[PaymentCaptured | OrderCancelled | OrderDelivered | CourierMissed | ShiftBegun | ShiftEnded],
    snapshot: Snapshot,
) -> list[
    DeliveryDispatched
    | DeliveryQueued
    | DeliveryDelayed
    | DeliveryReassigned
    | OrderDelivered
    | DeliveryCancelled
    | ShiftBegun
    | ShiftEnded
    | CourierRoster
    | QueuePage
]:
    """Orders were paid, delivered or cancelled, couriers came, went or are missed: decide together who carries what."""
    rosters = await snapshot.latest(CourierRoster, [DEPOT])
    trips = await snapshot.stories(Trip, DeliveryDispatched, domain.orders_of(arrived))
    shifts = await snapshot.stories(Fold, ShiftBegun, domain.shifts_of(arrived))
    known = Known(rosters.get(DEPOT) or domain.empty_roster(), dict(trips), dict(shifts))
    while True:
        try:
            return domain.decide(arrived, known)
        except Unread as unread:
            await _read(unread, known, snapshot)


@delivery.intake(retry=SHORT)
async def track(position: PositionReported, trip: Trip) -> list[PositionReported | CourierSeen]:
    """A courier reports a position: record it, and if this courier carries the order, that something was heard."""
    return domain.heard(position, trip)


@delivery.after(minutes=10, since=BEGAN)
async def watch(sign: DeliveryDispatched | DeliveryReassigned | CourierSeen, trip: Trip) -> CourierMissed | None:
    """A courier got an order or was heard of, and the time is up: if nothing was heard since, it is missed."""
    return domain.missed(sign, trip)


@delivery.after(minutes=2)
async def delay(queued: DeliveryQueued, trip: Trip) -> DeliveryDelayed | None:
    """The time is up: an order that still waits for a courier is delayed."""
    return domain.delay(queued, trip)


async def _read(unread: Unread, known: Known, snapshot: Snapshot) -> None:
    """Read more; a page on which nobody ever waited is empty."""
    pages = await snapshot.latest(QueuePage, unread.pages)
    known.pages.update({name: pages[name].order_ids if name in pages else () for name in unread.pages})
    known.trips.update(await snapshot.stories(Trip, DeliveryDispatched, unread.orders))
    known.shifts.update(await snapshot.stories(Fold, ShiftBegun, unread.shifts))
