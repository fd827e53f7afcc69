"""What the console says of a story that is not handled yet: of each event, the durables that deliver it."""

from datetime import UTC, datetime

import pytest

from jetmesh.console.unhandled import readers
from jetmesh.operate.key_history import StoryEvent
from jetmesh_shop.flow import SERVICES


@pytest.mark.parametrize(
    ("stream", "type_", "durables"),
    [
        ("ORDERS", "orders.confirmed", {"payments-capture", "notifications-confirm"}),
        ("DELIVERY", "delivery.delayed", {"notifications-soothe"}),
        ("DELIVERY", "delivery.delivered", set()),  # it comes from outside, and its durable is the intake's
    ],
)
def test_an_event_waits_for_the_durables_that_deliver_it(stream: str, type_: str, durables: set[str]) -> None:
    event = StoryEvent(type_, datetime.now(UTC), stream.lower(), stream, 1, "e-1", "", "")
    assert {consumer.durable for consumer in readers(SERVICES, {}, [event])} == durables
