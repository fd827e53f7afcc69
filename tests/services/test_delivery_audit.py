"""The audit of deliveries: a day without offence, and each thing done to it is named."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jetmesh.operate.books import Fact, Letter
from jetmesh_shop.reference import delivery_checks
from jetmesh_shop.reference.books import ShopBooks

Step = tuple[str, str, dict[str, Any]]


def roster(free: Sequence[str], rides: dict[str, str], waiting: int = 0) -> Step:
    on_duty = [{"courier_id": name, "shift_id": f"{name}-1"} for name in [*free, *rides.values()]]
    carried = [{"order_id": order_id, "courier_id": courier_id} for order_id, courier_id in rides.items()]
    return "couriers.roster", "main", {"on_duty": on_duty, "rides": carried, "waiting": waiting}


def step(event_type: str, key: str, **said: Any) -> Step:
    return event_type, key, said


DAY: tuple[Step, ...] = (
    step("shifts.begun", "rosa-1", courier_id="rosa"),
    step("payments.captured", "o-1"),
    step("delivery.dispatched", "o-1", courier_id="rosa"),
    step("payments.captured", "o-2"),
    step("delivery.queued", "o-2"),
    step("delivery.delayed", "o-2"),
    step("notifications.delay_sent", "o-2"),
    step("delivery.delivered", "o-1", courier_id="rosa"),
    step("delivery.dispatched", "o-2", courier_id="rosa"),
    roster([], {"o-2": "rosa"}),
)


def books(*steps: Step, discarded: Sequence[Letter] = ()) -> ShopBooks:
    """What was recorded, in this order."""
    events = [
        Fact(_stream(event_type), at, f"{event_type}.{key}", event_type, key, at, f"id-{at}", "", "", said)
        for at, (event_type, key, said) in enumerate(steps, 1)
    ]
    return ShopBooks(events=events, intake=[], letters=[], discarded=list(discarded))


def _stream(event_type: str) -> str:
    entity = event_type.partition(".")[0]
    return entity.upper() if entity in ("payments", "notifications") else "DELIVERY"


def offences(found: ShopBooks) -> list[str]:
    return [offence for check in delivery_checks.CHECKS for offence in check(found)]


def but(*more: Step, without: str = "") -> ShopBooks:
    return books(*(each for each in (*DAY, *more) if f"{each[0]}.{each[1]}" != without))


def test_a_day_in_good_order_has_no_offence() -> None:
    assert offences(books()) == offences(books(*DAY)) == []


@pytest.mark.parametrize(
    ("change", "offence"),
    [
        (
            lambda: but(step("delivery.courier_missed", "o-2", courier_id="rosa", signs=0)),
            "o-2: rosa is missed, and still carries it",
        ),
        (
            lambda: but(step("delivery.reassigned", "o-2", courier_id="jan", silent=["rosa"], signs=1)),
            "the roster says that it is carried by rosa",
        ),
        (
            lambda: but(step("delivery.reassigned", "o-2", courier_id=None, silent=["rosa"], signs=1), roster([], {})),
            "couriers.roster.main (DELIVERY 12): says that 0 orders wait, and 1 do",
        ),
        (lambda: but(without="delivery.delivered.o-1"), "o-2: rosa was given it while carrying o-1"),
        (
            lambda: but(step("delivery.delivered", "o-2", courier_id="jan"), roster(["rosa"], {})),
            "o-2: was delivered by jan, and carried by rosa",
        ),
        (lambda: but(step("payments.captured", "o-3")), "o-3: is paid, and delivery knows nothing of it"),
        (
            lambda: but(step("delivery.queued", "o-3"), roster(["jan"], {"o-2": "rosa"}, 1)),
            "o-3: waits while jan is free",
        ),
        (lambda: but(step("delivery.queued", "o-3")), "says that 0 orders wait, and 1 do"),
        (lambda: but(step("delivery.cancelled", "o-2")), "o-2: the roster says that it is carried by rosa"),
        (lambda: but(roster([], {})), "o-2: the roster says that it is carried by nobody"),
        (
            lambda: but(without="notifications.delay_sent.o-2"),
            "o-2: is delayed, but there is no notifications.delay_sent",
        ),
    ],
)
def test_the_audit_names_the_offence(change: Callable[[], ShopBooks], offence: str) -> None:
    assert [found for found in offences(change()) if offence in found]


def test_whoever_was_missed_or_took_over_may_deliver() -> None:
    """The order goes from one to the other and is delivered by the first; then by the second, of another day."""
    taken = (
        step("delivery.courier_missed", "o-2", courier_id="rosa", signs=0),
        step("delivery.reassigned", "o-2", courier_id="jan", silent=["rosa"], signs=1),
    )
    for courier_id in ("rosa", "jan"):
        assert offences(but(*taken, step("delivery.delivered", "o-2", courier_id=courier_id), roster([], {}))) == []
    wrong = but(*taken, step("delivery.delivered", "o-2", courier_id="kim"), roster([], {}))
    assert offences(wrong) == ["o-2: was delivered by kim, and carried by jan"]


def test_what_was_paid_before_there_was_a_delivery_is_not_missed() -> None:
    assert offences(books(step("payments.captured", "o-0"), *DAY)) == []


def test_what_would_have_followed_from_a_discarded_letter_is_not_missed() -> None:
    found = but(step("payments.captured", "o-3"))
    source = found.events[-1]
    letter = Letter(1, 1, "dead_log.x", "delivery.dispatch", source.position, source.subject, "")
    assert offences(replace(found, discarded=[letter])) == []
