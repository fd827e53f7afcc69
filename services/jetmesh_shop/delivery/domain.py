"""What delivery decides: which courier carries which order, many orders at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jetmesh import Fold, NotYet
from jetmesh_contracts import (
    CourierMissed,
    CourierRoster,
    CourierSeen,
    Customer,
    DeliveryCancelled,
    DeliveryDelayed,
    DeliveryDispatched,
    DeliveryQueued,
    DeliveryReassigned,
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

Arrived = PaymentCaptured | OrderCancelled | OrderDelivered | CourierMissed | ShiftBegun | ShiftEnded
Level = CourierRoster | QueuePage
Carriage = DeliveryQueued | DeliveryDispatched | DeliveryDelayed | DeliveryReassigned
DeskEvent = Carriage | OrderDelivered | DeliveryCancelled | ShiftBegun | ShiftEnded | Level
Sign = DeliveryDispatched | DeliveryReassigned | CourierSeen


class Trip(Fold):
    """What delivery has recorded about one order."""

    @property
    def courier_id(self) -> str:
        """Who carries it; empty for nobody."""
        carried = self.get(DeliveryReassigned) or self.get(DeliveryDispatched)
        return (carried.courier_id if carried else None) or ""

    @property
    def silent(self) -> tuple[str, ...]:
        """The couriers that it was taken from."""
        reassigned = self.get(DeliveryReassigned)
        return reassigned.silent if reassigned else ()

    @property
    def signs(self) -> int:
        """How many there were: couriers after the first one, and positions."""
        return max(number_of(sign) for sign in (self.get(DeliveryReassigned), self.get(CourierSeen)))

    @property
    def customer(self) -> Customer | None:
        """Who ordered it, if that is known."""
        told = self.get(DeliveryQueued) or self.get(DeliveryDispatched)
        return told.customer if told else None

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
    """The decision needs more than was read: these pages of the queue, or what is known of these orders and shifts."""

    def __init__(self, pages: Sequence[str] = (), orders: Sequence[str] = (), shifts: Sequence[str] = ()) -> None:
        super().__init__(", ".join([*pages, *orders, *shifts]))
        self.pages, self.orders, self.shifts = pages, orders, shifts


@dataclass(slots=True)
class Known:
    """What was read for a batch."""

    roster: CourierRoster
    trips: dict[str, Trip]
    shifts: dict[str, Fold]
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
    """Decide the batch: first who becomes free and which orders are taken back, then who has waited, then who comes.

    Raises:
        Unread: it depends on more than is known.
        NotYet: a courier says of an order what can't be, or what the story will say.
    """
    desk = Desk(known)
    for event in arrived:
        desk.take(event)
    for missed in desk.missed:
        desk.take_back(missed)
    while desk.free and desk.waiting:
        desk.call()
    for payment in desk.paid:
        desk.send(payment)
    desk.keep()
    return [*desk.recorded, *desk.levels()] if desk.recorded else []


def delay(queued: DeliveryQueued, trip: Trip) -> DeliveryDelayed | None:
    """An order that still waits is delayed."""
    if trip.has_ended or trip.has(DeliveryDispatched, DeliveryDelayed):
        return None
    return DeliveryDelayed(order_id=queued.order_id, customer=queued.customer)


def number_of(sign: Sign | None) -> int:
    """How many signs there were with this one; the dispatch is not counted."""
    return 0 if sign is None or isinstance(sign, DeliveryDispatched) else sign.signs


def heard(position: PositionReported, trip: Trip) -> list[PositionReported | CourierSeen]:
    """A position; of who carries the order, it is a sign as well.

    Raises:
        NotYet: this courier does not carry the order, and never did.
    """
    require_carrier(position, trip)
    if trip.has_ended or trip.courier_id != position.courier_id:
        return [position]
    seen = CourierSeen(
        order_id=position.order_id,
        courier_id=position.courier_id,
        position_id=position.position_id,
        signs=trip.signs + 1,
    )
    return [position, seen]


def missed(sign: Sign, trip: Trip) -> CourierMissed | None:
    """A courier of whom nothing was heard since a sign is missed. Whether that still holds, the desk decides."""
    if not sign.courier_id or trip.has_ended or trip.signs > number_of(sign):
        return None
    return CourierMissed(order_id=sign.order_id, courier_id=sign.courier_id, signs=number_of(sign))


def require_carrier(said: OrderDelivered | PositionReported, trip: Trip) -> None:
    """Refuse what a courier says about an order that was never given to this one.

    Raises:
        NotYet: it was not, as far as is known; a replica that lags may not know it.
    """
    if said.courier_id not in (trip.courier_id, *trip.silent):
        raise NotYet(
            f"courier_id: {said.courier_id} does not carry {said.order_id}, {trip.courier_id or 'no courier'} does"
        )


class Desk:
    """Who is on duty, who carries what and who waits, while a batch is decided."""

    def __init__(self, known: Known) -> None:
        self._known, roster = known, known.roster
        self._on_duty = {duty.courier_id: duty.shift_id for duty in roster.on_duty}
        self._rides = {ride.order_id: ride.courier_id for ride in roster.rides}
        self._first, self._last, self.waiting = roster.first_page, roster.last_page, roster.waiting
        self._returned = list(roster.returned)
        self._pages = {page_id: list(orders) for page_id, orders in known.pages.items()}
        self._finished: set[str] = set()
        self.missed: list[CourierMissed] = []
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
            case CourierMissed():
                self.missed.append(event)
            case OrderDelivered() | OrderCancelled():
                if not self._known.trips[event.order_id].has_ended:
                    self._finish(event, self._known.trips[event.order_id])

    def take_back(self, missed: CourierMissed) -> None:
        """The order goes to somebody else, and the silent courier is off duty, unless something was heard meanwhile.

        Raises:
            NotYet: the story that was read is older than the event.
        """
        order_id, trip = missed.order_id, self._known.trips[missed.order_id]
        if order_id in self._finished or trip.has_ended or trip.signs > missed.signs:
            return
        if trip.signs < missed.signs or not trip.courier_id:
            raise NotYet(f"order_id: the story of {order_id} that was read does not say yet who carries it")
        self._finished.add(order_id)
        self._rides.pop(order_id, None)
        self._retire(missed.courier_id)
        self._returned.append(order_id)
        self.waiting += 1
        if trip.customer and not trip.has(DeliveryDelayed):
            self.recorded.append(DeliveryDelayed(order_id=order_id, customer=trip.customer))

    def call(self) -> None:
        """The order that has waited longest gets a courier; first those that were taken from one."""
        line = self._returned or self._page(self._first)
        if not line:
            self._turn()
            return
        called = line[: len(self.free)]
        if unread := [order_id for order_id in called if order_id not in self._known.trips]:
            raise Unread(orders=unread)
        self.waiting -= 1
        order_id = line.pop(0)
        self._dispatch(order_id, self._known.trips[order_id].customer)

    def keep(self) -> None:
        """What was taken from a courier, and nobody is free: it waits."""
        for order_id in self._returned:
            trip = self._known.trips.get(order_id)
            if trip and trip.courier_id:
                self.recorded.append(self._reassigned(order_id, trip, None))

    def send(self, payment: PaymentCaptured) -> None:
        """A new order gets a courier, or waits."""
        if self.free:
            self._dispatch(payment.order_id, payment.customer)
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
            returned=tuple(self._returned),
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
        self._finished.add(event.order_id)
        if courier_id := self._rides.pop(event.order_id, ""):
            if courier_id in self._on_duty:
                self._on_duty[courier_id] = self._on_duty.pop(courier_id)
        elif event.order_id in self._returned:
            self._returned.remove(event.order_id)
            self.waiting -= 1
        elif trip.page_id and event.order_id in (page := self._opened(trip.page_id)):
            page.remove(event.order_id)
            self.waiting -= 1

    def _retire(self, courier_id: str) -> None:
        """The courier is off duty; only another shift changes that."""
        shift_id = self._on_duty.pop(courier_id, "")
        if not shift_id:
            return
        if shift_id not in self._known.shifts:
            raise Unread(shifts=[shift_id])
        self.recorded.append(ShiftEnded(shift_id=shift_id))

    def _dispatch(self, order_id: str, customer: Customer | None) -> None:
        courier_id, trip = self.free[0], self._known.trips[order_id]
        self._rides[order_id] = courier_id
        self.recorded.append(
            self._reassigned(order_id, trip, courier_id)
            if trip.has(DeliveryDispatched)
            else DeliveryDispatched(order_id=order_id, courier_id=courier_id, customer=customer)
        )

    @staticmethod
    def _reassigned(order_id: str, trip: Trip, courier_id: str | None) -> DeliveryReassigned:
        silent = (*trip.silent, trip.courier_id) if trip.courier_id else trip.silent
        return DeliveryReassigned(order_id=order_id, courier_id=courier_id, silent=silent, signs=trip.signs + 1)

    def _page(self, number: int) -> list[str]:
        return self._opened(page_id_of(number))

    def _opened(self, page_id: str) -> list[str]:
        if page_id not in self._pages:
            raise Unread(pages=[page_id])
        return self._pages[page_id]


def page_id_of(number: int) -> str:
    """The key of a page of the queue."""
    return f"{DEPOT}-{number}"
