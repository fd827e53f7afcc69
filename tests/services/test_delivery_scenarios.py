"""Delivery: a courier carries one order at a time, who waits is served in order, and time says that it takes long."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from jetmesh import Fold, NotYet
from jetmesh.testing import given
from jetmesh_contracts import (
    CourierMissed,
    CourierRoster,
    CourierSeen,
    DeliveryCancelled,
    DeliveryDelayed,
    DeliveryDispatched,
    DeliveryQueued,
    DeliveryReassigned,
    Duty,
    OrderDelivered,
    PositionReported,
    QueuePage,
    Ride,
    ShiftBegun,
    ShiftEnded,
)
from jetmesh_shop.delivery import domain
from jetmesh_shop.delivery.domain import DEPOT, PAGE_ORDERS, Known, Trip
from jetmesh_shop.delivery.service import delay, dispatch, track, watch
from tests.support.samples import ADA, cancelled, captured, placed

ROSA, JAN = ShiftBegun(shift_id="rosa-1", courier_id="rosa"), ShiftBegun(shift_id="jan-1", courier_id="jan")


def roster(
    *shifts: ShiftBegun, rides: dict[str, str] | None = None, returned: Sequence[str] = (), **counts: int
) -> CourierRoster:
    """Who is on duty, in the order of their waiting, and who carries what."""
    return CourierRoster(
        depot=DEPOT,
        on_duty=tuple(Duty(courier_id=shift.courier_id, shift_id=shift.shift_id) for shift in shifts),
        rides=tuple(Ride(order_id=order_id, courier_id=courier_id) for order_id, courier_id in (rides or {}).items()),
        returned=tuple(returned),
        **{"waiting": 0, "first_page": 0, "last_page": 0, **counts},
    )


def queued(order_id: str = "o-1", page: int = 0) -> DeliveryQueued:
    return DeliveryQueued(order_id=order_id, customer=ADA, page_id=f"{DEPOT}-{page}")


def page(*order_ids: str, number: int = 0) -> QueuePage:
    return QueuePage(page_id=f"{DEPOT}-{number}", order_ids=order_ids)


def sent(order_id: str = "o-1", courier_id: str = "rosa") -> DeliveryDispatched:
    return DeliveryDispatched(order_id=order_id, courier_id=courier_id, customer=ADA)


def delivered(order_id: str = "o-1", courier_id: str = "rosa") -> OrderDelivered:
    return OrderDelivered(order_id=order_id, courier_id=courier_id)


async def test_a_paid_order_goes_to_the_courier_who_has_waited_longest() -> None:
    await (
        given(roster(ROSA, JAN)).when(dispatch, captured("o-1")).then(sent(), roster(ROSA, JAN, rides={"o-1": "rosa"}))
    )


async def test_without_a_courier_an_order_waits() -> None:
    await given().when(dispatch, captured("o-1")).then(queued(), roster(waiting=1), page("o-1"))


async def test_a_courier_who_comes_gets_the_order_that_has_waited_longest() -> None:
    before = [queued("o-1"), queued("o-2"), page("o-1", "o-2"), roster(waiting=2)]
    await (
        given(*before)
        .when(dispatch, ROSA)
        .then(ROSA, sent("o-1"), roster(ROSA, rides={"o-1": "rosa"}, waiting=1), page("o-2"))
    )


async def test_a_roster_that_is_older_than_the_queue_keeps_nobody_busy() -> None:
    """Another replica called the last one who waited: the decision ends, and its guard refuses it."""
    before = [page(), roster(waiting=1)]
    await given(*before).when(dispatch, ROSA).then(ROSA, roster(ROSA), page())


async def test_who_waits_comes_before_who_is_new() -> None:
    await (
        given(queued("o-1"), page("o-1"), roster(waiting=1))
        .when(dispatch, [captured("o-2"), ROSA])
        .then(ROSA, sent("o-1"), queued("o-2"), roster(ROSA, rides={"o-1": "rosa"}, waiting=1), page("o-2"))
    )


async def test_no_courier_gets_two_of_a_batch() -> None:
    orders = [captured(f"o-{number}") for number in range(3)]
    await (
        given(roster(ROSA, JAN))
        .when(dispatch, orders)
        .then(
            sent("o-0", "rosa"), sent("o-1", "jan"), queued("o-2"),
            roster(ROSA, JAN, rides={"o-0": "rosa", "o-1": "jan"}, waiting=1), page("o-2"),
        )
    )  # fmt: skip


async def test_who_has_delivered_gets_the_next_order_after_those_who_wait() -> None:
    before = [sent("o-1", "rosa"), roster(ROSA, JAN, rides={"o-1": "rosa"})]
    await given(*before).when(dispatch, delivered()).then(delivered(), roster(JAN, ROSA))
    waiting = [queued("o-2"), page("o-2"), sent(), roster(ROSA, rides={"o-1": "rosa"}, waiting=1)]
    await (
        given(*waiting)
        .when(dispatch, delivered())
        .then(delivered(), sent("o-2"), roster(ROSA, rides={"o-2": "rosa"}), page())
    )


async def test_a_cancelled_order_frees_its_courier() -> None:
    ended = DeliveryCancelled(order_id="o-1")
    before = [sent(), roster(ROSA, rides={"o-1": "rosa"})]
    await given(*before).when(dispatch, cancelled(placed())).then(ended, roster(ROSA))
    await given(sent(), ended, roster(ROSA)).when(dispatch, cancelled(placed())).then()
    await given(sent(), ended, roster(ROSA)).when(dispatch, delivered()).then()


async def test_a_cancelled_order_leaves_the_queue() -> None:
    before = [queued("o-1"), queued("o-2"), page("o-1", "o-2"), roster(waiting=2)]
    ended = DeliveryCancelled(order_id="o-1")
    await given(*before).when(dispatch, cancelled(placed("o-1"))).then(ended, roster(waiting=1), page("o-2"))
    await (
        given(*before)
        .when(dispatch, [cancelled(placed("o-1")), ROSA])
        .then(ended, ROSA, sent("o-2"), roster(ROSA, rides={"o-2": "rosa"}), page())
    )


async def test_a_cancellation_that_overtakes_the_payment_ends_it_here() -> None:
    ended = DeliveryCancelled(order_id="o-1")
    await given(roster(ROSA)).when(dispatch, cancelled(placed())).then(ended, roster(ROSA))
    await given(ended, roster(ROSA)).when(dispatch, captured("o-1")).then()


async def test_a_delivered_order_is_not_cancelled() -> None:
    await given(sent(), delivered(), roster(ROSA)).when(dispatch, cancelled(placed())).then()


async def test_a_courier_who_goes_off_duty_delivers_what_he_carries_and_gets_no_more() -> None:
    end = ShiftEnded(shift_id="rosa-1")
    on_the_way = [ROSA, sent(), roster(ROSA, rides={"o-1": "rosa"})]
    await given(*on_the_way).when(dispatch, end).then(end, roster(rides={"o-1": "rosa"}))
    late = [ROSA, end, sent(), roster(rides={"o-1": "rosa"})]
    await (
        given(*late)
        .when(dispatch, captured("o-2"))
        .then(queued("o-2"), roster(rides={"o-1": "rosa"}, waiting=1), page("o-2"))
    )
    await given(*late).when(dispatch, delivered()).then(delivered(), roster())
    await given(*late, delivered()).when(dispatch, delivered()).then()


async def test_a_shift_that_has_ended_does_not_begin() -> None:
    end = ShiftEnded(shift_id="rosa-1")
    await given().when(dispatch, end).then(end, roster())
    await given(end, roster()).when(dispatch, ROSA).then()


async def test_a_courier_in_two_shifts_is_one_courier() -> None:
    again = ShiftBegun(shift_id="rosa-2", courier_id="rosa")
    await given(ROSA, roster(ROSA)).when(dispatch, again).then(again, roster(again))
    end = ShiftEnded(shift_id="rosa-1")
    await given(ROSA, again, roster(again)).when(dispatch, end).then(end, roster(again))


async def test_nobody_says_of_an_order_what_another_one_carries() -> None:
    before = [sent("o-1", "rosa"), roster(ROSA, JAN, rides={"o-1": "rosa"})]
    await (
        given(*before).when(dispatch, delivered("o-1", "jan")).then_raises(NotYet, "jan does not carry o-1, rosa does")
    )
    await (
        given(roster(ROSA)).when(dispatch, delivered()).then_raises(NotYet, "rosa does not carry o-1, no courier does")
    )


async def test_a_full_page_is_followed_by_another_one() -> None:
    full = page(*(f"o-{number}" for number in range(PAGE_ORDERS)))
    new, after = captured("o-x"), roster(waiting=PAGE_ORDERS + 1, last_page=1)
    await (
        given(full, roster(waiting=PAGE_ORDERS))
        .when(dispatch, new)
        .then(queued("o-x", 1), after, full, page("o-x", number=1))
    )
    await (
        given(queued("o-x", 1), page(number=0), page("o-x", number=1), roster(waiting=1, last_page=1))
        .when(dispatch, ROSA)
        .then(
            ROSA, sent("o-x"), roster(ROSA, rides={"o-x": "rosa"}, first_page=1, last_page=1), page(), page(number=1)
        )
    )  # fmt: skip


def position(number: int = 1, courier_id: str = "rosa") -> PositionReported:
    return PositionReported(
        order_id="o-1", position_id=f"p-{number}", courier_id=courier_id, latitude=52.5, longitude=13.4
    )


def seen(number: int = 1, signs: int = 1, courier_id: str = "rosa") -> CourierSeen:
    return CourierSeen(order_id="o-1", courier_id=courier_id, position_id=f"p-{number}", signs=signs)


async def test_every_position_of_who_carries_the_order_is_recorded_once() -> None:
    await given(sent()).when(track, position(1)).then(position(1), seen())
    await given(sent(), position(1), seen()).when(track, position(2)).then(position(2), seen(2, signs=2))
    await given(sent(), position(1), seen()).when(track, position(1)).then()
    await given(sent(), delivered()).when(track, position(1)).then(position(1))
    await given(sent()).when(track, position(courier_id="jan")).then_raises(NotYet, "jan does not carry o-1, rosa")
    await given(queued()).when(track, position()).then_raises(NotYet, "no courier does")


def missed(signs: int = 0, courier_id: str = "rosa") -> CourierMissed:
    return CourierMissed(order_id="o-1", courier_id=courier_id, signs=signs)


def reassigned(courier_id: str | None, *silent: str, signs: int = 1) -> DeliveryReassigned:
    return DeliveryReassigned(order_id="o-1", courier_id=courier_id, silent=silent, signs=signs)


LATE = DeliveryDelayed(order_id="o-1", customer=ADA)
END = ShiftEnded(shift_id="rosa-1")
TAKEN = (sent(), LATE, END, reassigned("jan", "rosa"))


async def test_a_courier_of_whom_nothing_was_heard_is_missed() -> None:
    await given(sent()).when(watch, sent()).then(missed())
    await given(sent(), seen()).when(watch, seen()).then(missed(1))
    await given(*TAKEN).when(watch, reassigned("jan", "rosa")).then(missed(1, "jan"))


async def test_whoever_was_heard_of_since_is_not_missed() -> None:
    await given(sent(), seen()).when(watch, sent()).then()
    await given(sent(), seen(2, signs=2)).when(watch, seen()).then()
    await given(sent(), delivered()).when(watch, sent()).then()
    await given(*TAKEN).when(watch, sent()).then()
    waits = reassigned(None, "rosa")
    await given(sent(), waits).when(watch, waits).then()


async def test_the_order_of_a_courier_who_is_missed_goes_to_another_one() -> None:
    before = [ROSA, JAN, sent(), roster(ROSA, JAN, rides={"o-1": "rosa"})]
    after = roster(JAN, rides={"o-1": "jan"})
    await given(*before).when(dispatch, missed()).then(END, LATE, reassigned("jan", "rosa"), after)
    await given(*before, LATE).when(dispatch, missed()).then(END, reassigned("jan", "rosa"), after)
    await given(ROSA, *TAKEN, after).when(dispatch, missed()).then()
    await given(*before, seen()).when(dispatch, missed()).then()
    await given(*before, delivered()).when(dispatch, missed()).then()
    await given(*before).when(dispatch, missed(1)).then_raises(NotYet, "does not say yet who carries it")


async def test_an_order_that_was_taken_from_a_courier_waits_before_all_others() -> None:
    before = [ROSA, sent(), queued("o-2"), page("o-2"), roster(ROSA, rides={"o-1": "rosa"}, waiting=1)]
    waits, left = reassigned(None, "rosa"), roster(returned=["o-1"], waiting=2)
    await given(*before).when(dispatch, missed()).then(END, LATE, waits, left)
    taken = [*before, END, LATE, waits, left]
    called = reassigned("jan", "rosa", signs=2)
    await given(*taken).when(dispatch, JAN).then(JAN, called, roster(JAN, rides={"o-1": "jan"}, waiting=1))
    ended = DeliveryCancelled(order_id="o-1")
    await given(*taken).when(dispatch, cancelled(placed())).then(ended, roster(waiting=1))
    await given(*taken).when(dispatch, delivered()).then(delivered(), roster(waiting=1))


async def test_of_two_couriers_who_delivered_the_first_one_counts() -> None:
    carried = [ROSA, *TAKEN, roster(JAN, rides={"o-1": "jan"})]
    await given(*carried).when(dispatch, delivered()).then(delivered(), roster(JAN))
    await given(*carried, delivered(), roster(JAN)).when(dispatch, delivered("o-1", "jan")).then()
    await given(*carried).when(track, position()).then(position())
    await (
        given(*carried)
        .when(track, position(courier_id="jan"))
        .then(position(courier_id="jan"), seen(signs=2, courier_id="jan"))
    )


async def test_whoever_is_missed_after_the_shift_ended_ends_no_other_one() -> None:
    before = [ROSA, END, sent(), roster(JAN, rides={"o-1": "rosa"})]
    await (
        given(*before).when(dispatch, missed()).then(LATE, reassigned("jan", "rosa"), roster(JAN, rides={"o-1": "jan"}))
    )


async def test_an_order_that_still_waits_when_the_time_is_up_is_delayed() -> None:
    await given(queued()).when(delay, queued()).then(LATE)
    await given(queued(), LATE).when(delay, queued()).then()
    await given(queued(), sent()).when(delay, queued()).then()
    await given(queued(), DeliveryCancelled(order_id="o-1")).when(delay, queued()).then()


class Town:
    """Delivery in memory: what it recorded, applied as a broker would, batch by batch."""

    def __init__(self) -> None:
        self.roster = domain.empty_roster()
        self.trips: dict[str, Trip] = {}
        self.shifts: dict[str, Fold] = {}
        self.pages: dict[str, tuple[str, ...]] = {}
        self.carried: dict[str, str] = {}

    def react(self, *arrived: domain.Arrived) -> None:
        """Decide a batch, and apply it."""
        known = Known(
            self.roster,
            {key: self.trips.get(key, Trip()) for key in domain.orders_of(arrived)},
            {key: self.shifts.get(key, Fold()) for key in domain.shifts_of(arrived)},
        )
        for event in self._decided(arrived, known):
            self._apply(event)

    def _decided(self, arrived: Sequence[domain.Arrived], known: Known) -> list[domain.DeskEvent]:
        while True:
            try:
                return domain.decide(arrived, known)
            except domain.Unread as unread:
                known.pages.update({name: self.pages.get(name, ()) for name in unread.pages})
                known.trips.update({key: self.trips[key] for key in unread.orders})
                known.shifts.update({key: self.shifts[key] for key in unread.shifts})

    def _apply(self, event: Any) -> None:
        match event:
            case CourierRoster():
                self.roster = event
            case QueuePage():
                self.pages[event.page_id] = event.order_ids
            case ShiftBegun() | ShiftEnded():
                self.shifts[event.shift_id] = self.shifts.get(event.shift_id, Fold()).evolve(event)
            case _:
                self.trips[event.order_id] = self.trips.get(event.order_id, Trip()).evolve(event)
        if isinstance(event, DeliveryReassigned):
            self.carried.pop(event.order_id, None)
        if isinstance(event, (DeliveryDispatched, DeliveryReassigned)) and event.courier_id:
            assert event.courier_id not in self.carried.values(), event
            self.carried[event.order_id] = event.courier_id
        elif isinstance(event, (OrderDelivered, DeliveryCancelled)):
            self.carried.pop(event.order_id, None)

    @property
    def waiting(self) -> list[str]:
        return [*self.roster.returned, *(order_id for page in self.pages.values() for order_id in page)]

    def is_sound(self) -> None:
        """The roster is what was recorded, and nobody waits while a courier is free."""
        assert self.carried == {ride.order_id: ride.courier_id for ride in self.roster.rides}
        assert self.roster.waiting == len(self.waiting) == len(set(self.waiting))
        busy = set(self.carried.values())
        assert not self.waiting or all(duty.courier_id in busy for duty in self.roster.on_duty)


GROUPS = {"begin": "shift", "end": "shift", "miss": "occurrence"}
"""Of an order and of a shift a batch has one event; an occurrence may stand beside it."""
STEPS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["pay", "cancel", "deliver", "late", "miss", "begin", "end"]), st.integers(0, 5)),
        min_size=1, max_size=5, unique_by=lambda step: (GROUPS.get(step[0], "order"), step[1]),
    ),
    max_size=25,
)  # fmt: skip


@examples(STEPS)
def test_whatever_comes_in_whatever_order_no_courier_has_two_orders(batches: list[list[tuple[str, int]]]) -> None:
    town = Town()
    for batch in batches:
        town.react(*(event for what, number in batch for event in _event(town, what, number)))
        town.is_sound()


def _event(town: Town, what: str, number: int) -> list[domain.Arrived]:
    order_id, shift = f"o-{number}", f"s-{number}"
    trip = town.trips.get(order_id, Trip())
    carrier, silent = trip.courier_id, [] if trip.has_ended else trip.silent
    found: dict[str, list[domain.Arrived]] = {
        "pay": [captured(order_id)],
        "cancel": [cancelled(placed(order_id))],
        "deliver": [delivered(order_id, carrier)] if carrier else [],
        "late": [delivered(order_id, silent[0])] if silent else [],
        "miss": [CourierMissed(order_id=order_id, courier_id=carrier, signs=trip.signs)] if carrier else [],
        "begin": [ShiftBegun(shift_id=shift, courier_id=f"c-{number % 2}")],
        "end": [ShiftEnded(shift_id=shift)],
    }
    return found[what]


@pytest.mark.parametrize("behind", [0, 1])
def test_pages_are_left_behind_when_they_are_empty(behind: int) -> None:
    town = Town()
    orders = [f"o-{number}" for number in range(2 * PAGE_ORDERS + 5)]
    for order_id in orders:
        town.react(captured(order_id))
    assert (town.roster.last_page, len(town.waiting)) == (2, len(orders))
    town.react(ROSA)
    for order_id in orders[: len(orders) - behind]:
        town.react(delivered(order_id))
        town.is_sound()
    assert len(town.carried) == behind
    assert town.roster.waiting == 0
