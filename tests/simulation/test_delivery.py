"""Couriers while faults strike: none has two orders, every order arrives or is called off. Planted bugs are found."""

from collections.abc import Sequence

import pytest

from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import Publisher
from jetmesh_contracts import CourierRoster, DeliveryCancelled, OrderCancelled, OrderDelivered
from jetmesh_shop.delivery.domain import Desk, Trip
from jetmesh_shop.delivery.service import delivery
from tests.simulation.delivery import DeliveryMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(40)


def test_every_order_arrives_or_is_called_off_and_no_courier_has_two() -> None:
    assert first_wrong(DeliveryMesh, SEEDS) == ""


def test_a_guard_left_out_where_a_courier_is_taken_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    record_all = Publisher.record_all

    async def careless(self: Publisher, messages: Sequence[Message]) -> int:
        for message in messages:
            if message.subject.startswith(f"{CourierRoster.type}."):
                message.guard = None
        return await record_all(self, messages)

    monkeypatch.setattr(Publisher, "record_all", careless)
    assert first_wrong(DeliveryMesh, SEEDS)


def test_a_courier_who_is_not_freed_by_a_cancellation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Desk._finish

    def keep(self: Desk, event: OrderDelivered | OrderCancelled, trip: Trip) -> None:
        if isinstance(event, OrderCancelled) and trip.courier_id:
            self.recorded.append(DeliveryCancelled(order_id=event.order_id))
        else:
            finish(self, event, trip)

    monkeypatch.setattr(Desk, "_finish", keep)
    assert first_wrong(DeliveryMesh, SEEDS)


def test_a_late_delivery_that_frees_the_wrong_courier_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Desk._finish

    def free(self: Desk, event: OrderDelivered | OrderCancelled, trip: Trip) -> None:
        carrier = self._rides.get(event.order_id)
        finish(self, event, trip)
        if isinstance(event, OrderDelivered) and carrier and carrier != event.courier_id:
            self._rides = {order: who for order, who in self._rides.items() if who != event.courier_id}
            self._rides[event.order_id] = carrier

    monkeypatch.setattr(Desk, "_finish", free)
    assert first_wrong(DeliveryMesh, SEEDS)


def test_an_order_that_stays_with_a_courier_who_vanished_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = [reaction for reaction in delivery.reactions if reaction.name != "watch"]
    monkeypatch.setattr(delivery, "_reactions", watching)
    assert first_wrong(DeliveryMesh, SEEDS)
