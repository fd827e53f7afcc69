"""When nothing more can happen to an order: read from the signatures and the endings, and from what caused what."""

from typing import NamedTuple

import pytest

from jetmesh.operate.flow import is_over
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.payments.service import payments

SERVICES = (orders, payments, inventory, notifications)


class Happened(NamedTuple):
    """An event of a story, with its type for an id."""

    type: str
    causation_id: str

    @property
    def id(self) -> str:
        return self.type


def story(**causes: str) -> list[Happened]:
    """Events and what each follows from; an underscore for the dot."""
    return [Happened(event.replace("_", ".", 1), cause.replace("_", ".", 1)) for event, cause in causes.items()]


TAKEN = {"orders_placed": "", "payments_authorized": "orders_placed", "inventory_reserved": "orders_placed"}
CONFIRMED = {
    **TAKEN,
    "orders_confirmed": "inventory_reserved",
    "payments_captured": "orders_confirmed",
    "notifications_confirmation_sent": "orders_confirmed",
    "notifications_receipt_sent": "payments_captured",
}
DECLINED = {
    "orders_placed": "",
    "payments_declined": "orders_placed",
    "inventory_reserved": "orders_placed",
    "orders_cancelled": "payments_declined",
    "inventory_released": "orders_cancelled",
    "notifications_cancellation_sent": "orders_cancelled",
}
UNPAID = {
    **TAKEN,
    "orders_confirmed": "inventory_reserved",
    "notifications_confirmation_sent": "orders_confirmed",
    "payments_capture_failed": "orders_confirmed",
    "orders_cancelled": "payments_capture_failed",
    "notifications_cancellation_sent": "orders_cancelled",
    "inventory_released": "orders_cancelled",
    "payments_voided": "orders_cancelled",
}
REFUSED = {"orders_refused": "", "notifications_cancellation_sent": "orders_refused"}


@pytest.mark.parametrize("causes", [CONFIRMED, DECLINED, UNPAID, REFUSED])
def test_a_story_is_over_with_its_last_event_and_not_before(causes: dict[str, str]) -> None:
    whole = story(**causes)
    assert is_over(SERVICES, whole)
    for told in range(len(whole)):
        assert not is_over(SERVICES, whole[:told]), whole[:told]
