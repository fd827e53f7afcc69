"""What delivery decides: which courier carries which order, many orders at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jetmesh import Fold, NotYet, Permanent
from jetmesh_contracts import (
    CourierRoster,
    DeliveryCancelled,
    DeliveryDelayed,
    DeliveryDispatched,
    DeliveryQueued,
    Duty,
    OrderCancelled,
    OrderDelivered,
    PaymentCaptured,
    PositionReported,
    QueuePage,
    Ride,
    ShiftBegun,
    ShiftEnded,
)

DEPOT = "main"
PAGE_ORDERS = 100
"""From so many orders on a page, who comes next waits on another one: a batch may go beyond it."""

Arrived = PaymentCaptured | OrderCancelled | OrderDelivered | ShiftBegun | ShiftEnded
Level = CourierRoster | QueuePage
DeskEvent = DeliveryQueued | DeliveryDispatched | OrderDelivered | DeliveryCancelled | ShiftBegun | ShiftEnded | Level


class Trip(Fold):
    """What delivery has recorded about one order."""

    @property
    def courier_id(self) -> str:
        """Who carries it; empty for nobody yet."""
        dispatched = self.get(DeliveryDispatched)
        return dispatched.courier_id if dispatched else ""

    @property
    def page_id(self) -> str:
        """The page of the queue on which it waits, or waited; empty for none."""
        queued = self.get(DeliveryQueued)
        return queued.page_id if queued else ""

    @property
    def has_ended(self) -> bool:
        """Whether nobody has to carry the order any more."""
        return self.has(OrderDelivered, DeliveryCancelled)


class Unread(LookupError):
    """The decision needs more of the queue than was read: these pages, or what is known about these orders."""

    def __init__(self, pages: Sequence[str] = (), orders: Sequence[str] = ()) -> None:
        super().__init__(", ".join([*pages, *orders]))
        self.pages, self.orders = pages, orders


@dataclass(slots=True)
class Known:
    """What was read for a batch."""

    roster: CourierRoster
    trips: dict[str, Trip]
    shifts: Mapping[str, Fold]
    pages: dict[str, Sequence[str]] = field(default_factory=dict)


def orders_of(arrived: Iterable[Arrived]) -> list[str]:
    """The orders that a batch is about."""
    return [event.order_id for event in arrived if not isinstance(event, (ShiftBegun, ShiftEnded))]


def shifts_of(arrived: Iterable[Arrived]) -> list[str]:
    """The shifts that a batch is about."""
    return [event.shift_id for event in arrived if isinstance(event, (ShiftBegun, ShiftEnded))]


def empty_roster() -> CourierRoster:
    """The roster of a depot that never had a courier."""
    return CourierRoster(depot=DEPOT, on_duty=(), rides=(), waiting=0, first_page=0, last_page=0)


def decide(arrived: Iterable[Arrived], known: Known) -> list[DeskEvent]:
    """Decide the batch: first who becomes free, then who has waited, then who comes.

    Raises:
        Unread: it depends on more than is known.
        NotYet, Permanent: a courier says of an order what can't be.
    """
    desk = Desk(known)
    for event in arrived:
        desk.take(event)
    while desk.free and desk.waiting:
        desk.call()
    for payment in desk.paid:
        desk.send(payment)
    return [*desk.recorded, *desk.levels()] if desk.recorded else []


def delay(queued: DeliveryQueued, trip: Trip) -> DeliveryDelayed | None:
    """An order that still waits is delayed."""
    if trip.has_ended or trip.has(DeliveryDispatched, DeliveryDelayed):
        return None
    return DeliveryDelayed(order_id=queued.order_id, customer=queued.customer)


def require_carrier(said: OrderDelivered | PositionReported, trip: Trip) -> None:
    """Refuse what a courier says about an order of somebody else.

    Raises:
        NotYet: nobody carries the order; a replica that lags may not know it.
        Permanent: another courier does.
    """
    if not trip.courier_id:
        raise NotYet(f"order_id: no courier carries {said.order_id}")
    if trip.courier_id != said.courier_id:
        raise Permanent(f"courier_id: {said.courier_id} does not carry {said.order_id}, {trip.courier_id} does")


class Desk:
    """Who is on duty, who carries what and who waits, while a batch is decided."""

    def __init__(self, known: Known) -> None:
        self._known, roster = known, known.roster
        self._on_duty = {duty.courier_id: duty.shift_id for duty in roster.on_duty}
        self._rides = {ride.order_id: ride.courier_id for ride in roster.rides}
        self._first, self._last, self.waiting = roster.first_page, roster.last_page, roster.waiting
        self._pages = {page_id: list(orders) for page_id, orders in known.pages.items()}
        self.paid: list[PaymentCaptured] = []
        self.recorded: list[DeskEvent] = []

    @property
    def free(self) -> list[str]:
        """The couriers who may be given an order; who has waited longest is the first."""
        carrying = set(self._rides.values())
        return [courier_id for courier_id in self._on_duty if courier_id not in carrying]

    def take(self, event: Arrived) -> None:
        """One event of the batch; what is known already changes nothing."""
        match event:
            case ShiftBegun():
                self._begin(event)
            case ShiftEnded():
                self._end(event)
            case PaymentCaptured():
                if not self._known.trips[event.order_id].recorded:
                    self.paid.append(event)
            case OrderDelivered() | OrderCancelled():
                if not self._known.trips[event.order_id].has_ended:
                    self._finish(event, self._known.trips[event.order_id])

    def call(self) -> None:
        """The order that has waited longest gets a courier."""
        page = self._page(self._first)
        if not page:
            self._turn()
            return
        called = page[: len(self.free)]
        if unread := [order_id for order_id in called if order_id not in self._known.trips]:
            raise Unread(orders=unread)
        self.waiting -= 1
        self._dispatch(page.pop(0))

    def send(self, payment: PaymentCaptured) -> None:
        """A new order gets a courier, or waits."""
        if self.free:
            self._dispatch(payment.order_id)
            return
        if len(self._page(self._last)) >= PAGE_ORDERS:
            self._last += 1
        self._page(self._last).append(payment.order_id)
        self.waiting += 1
        page_id = page_id_of(self._last)
        self.recorded.append(DeliveryQueued(order_id=payment.order_id, customer=payment.customer, page_id=page_id))

    def levels(self) -> list[Level]:
        """How things stand now. Everything that was read is part of what is recorded, also when it has not changed: a
        decision is guarded only by what stands in its commit."""
        roster = CourierRoster(
            depot=DEPOT,
            on_duty=tuple(Duty(courier_id=courier, shift_id=shift) for courier, shift in self._on_duty.items()),
            rides=tuple(Ride(order_id=order, courier_id=courier) for order, courier in self._rides.items()),
            waiting=self.waiting,
            first_page=self._first,
            last_page=self._last,
        )
        return [roster, *(QueuePage(page_id=name, order_ids=tuple(page)) for name, page in self._pages.items())]

    def _turn(self) -> None:
        """Nobody waits on the first page: go on to the next one, if there is one. If not, roster and page were read at
        different moments, and the guard will refuse what is decided."""
        if self._first < self._last:
            self._first += 1
        else:
            self.waiting = 0

    def _begin(self, event: ShiftBegun) -> None:
        """A shift begins once, and not after its end; who forgot to end one has the new one."""
        if not self._known.shifts[event.shift_id].recorded:
            self._on_duty.pop(event.courier_id, None)
            self._on_duty[event.courier_id] = event.shift_id
            self.recorded.append(event)

    def _end(self, event: ShiftEnded) -> None:
        if not self._known.shifts[event.shift_id].has(ShiftEnded):
            self._on_duty = {courier: shift for courier, shift in self._on_duty.items() if shift != event.shift_id}
            self.recorded.append(event)

    def _finish(self, event: OrderDelivered | OrderCancelled, trip: Trip) -> None:
        """The order needs no courier any more; its own is free, and has waited for the shortest time."""
        if isinstance(event, OrderDelivered):
            require_carrier(event, trip)
            self.recorded.append(event)
        else:
            self.recorded.append(DeliveryCancelled(order_id=event.order_id))
        if courier_id := self._rides.pop(event.order_id, ""):
            if courier_id in self._on_duty:
                self._on_duty[courier_id] = self._on_duty.pop(courier_id)
        elif trip.page_id and event.order_id in (page := self._opened(trip.page_id)):
            page.remove(event.order_id)
            self.waiting -= 1

    def _dispatch(self, order_id: str) -> None:
        courier_id = self.free[0]
        self._rides[order_id] = courier_id
        self.recorded.append(DeliveryDispatched(order_id=order_id, courier_id=courier_id))

    def _page(self, number: int) -> list[str]:
        return self._opened(page_id_of(number))

    def _opened(self, page_id: str) -> list[str]:
        if page_id not in self._pages:
            raise Unread(pages=[page_id])
        return self._pages[page_id]


def page_id_of(number: int) -> str:
    """The key of a page of the queue."""
    return f"{DEPOT}-{number}"
