"""Delivery as a simulated world: orders are paid and cancelled, couriers come, go, report, deliver and vanish."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

from jetmesh import Fold, NotYet, Service, Unavailable
from jetmesh.event import INTAKE
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import subject_of
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh_contracts import (
    CourierRoster,
    Event,
    OrderCancellationRequested,
    OrderCancelled,
    OrderDelivered,
    OrderPlaced,
    PaymentCaptured,
    PositionReported,
    ShiftBegun,
    ShiftEnded,
)
from jetmesh_shop.delivery.domain import DEPOT, empty_roster
from jetmesh_shop.delivery.service import delivery
from jetmesh_shop.reference import delivery_checks
from jetmesh_shop.reference.delivery_checks import CALLED_OFF, CAPTURED, DELIVERED
from tests.simulation.audit import collected
from tests.support.samples import cancelled, captured, placed

REST_SECONDS_MAX = 1_800.0
MISSED_SECONDS, DELAYED_SECONDS = 20.0, 10.0


def ordering() -> Service:
    """Takes every order, and every cancellation, however late; and one that came first, after its order."""
    orders = Service("orders")

    @orders.intake
    async def place(order: OrderPlaced) -> OrderPlaced:
        """Somebody orders."""
        return order

    @orders.intake
    async def withdraw(asked: OrderCancellationRequested, story: Fold) -> OrderCancelled | None:
        """The customer does not want it any more."""
        if not story.has(OrderPlaced):
            raise NotYet(f"{asked.order_id} is not placed yet")
        return None if story.has(OrderCancelled) else cancelled(placed(asked.order_id))

    return orders


def paying() -> Service:
    """Takes the money at once."""
    payments = Service("payments")

    @payments.begins
    async def capture(order: OrderPlaced) -> PaymentCaptured:
        """An order was placed: it is paid."""
        return captured(order.order_id)

    return payments


class DeliveryMesh:
    """Delivery one to three times, and who orders and carries."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"town {seed}")
        told = {
            "JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5",
            "JETMESH_SLOTS": str(self.random.choice((1, 4, 64))),
            "JETMESH_AFTER_DELIVERY_WATCH_SECONDS": str(MISSED_SECONDS),
            "JETMESH_AFTER_DELIVERY_DELAY_SECONDS": str(DELAYED_SECONDS),
        }  # fmt: skip
        self.world = World(seed, [ordering(), paying(), delivery], lambda _: None, read(Settings, told))
        self.couriers = [f"c-{number}" for number in range(self.random.choice((1, 2, 3)))]
        self.orders = [f"o-{number}" for number in range(self.random.choice((1, 4, 8)))]
        self.is_stormy = True
        self._said = Counter[str]()
        self._gone = set[str]()

    async def story(self) -> None:
        """Order and carry while faults strike; then look at what is there."""
        self.world.begin(lambda service: self.random.choice((1, 2, 3)) if service is delivery else 1)
        self.town = self.world.outsider("town")
        self._carrying = [self.town.run(self._work(name)) for name in self.couriers]
        ordering = [self.town.run(self._order(order_id)) for order_id in self.orders]
        await storm(self.world, 60.0)
        self.world.heal()
        self.is_stormy = False
        await asyncio.gather(*ordering)
        await self.world.rest(REST_SECONDS_MAX, lambda: [] if self._is_idle else ["a delivery"])
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    async def _order(self, order_id: str) -> None:
        """Order, perhaps twice; and perhaps cancel it, at any time."""
        await asyncio.sleep(self.random.uniform(0, 40))
        await self._say(placed(order_id))
        if self.random.random() < 0.4:
            await asyncio.sleep(self.random.choice((0, 0.1, 1, 5, 20, 60)))
            await self._say(OrderCancellationRequested(order_id=order_id))

    async def _work(self, name: str) -> None:
        """Carry what the roster says; while it is stormy, go off duty now and then. All but one may vanish for ever."""
        while name not in self._gone:
            await asyncio.sleep(self.random.uniform(0.2, 3))
            roster = self._roster
            shift_id = next((duty.shift_id for duty in roster.on_duty if duty.courier_id == name), "")
            if carried := [ride.order_id for ride in roster.rides if ride.courier_id == name]:
                await self._carry(name, carried[0])
            elif not shift_id:
                await self._say(ShiftBegun(shift_id=self._new(name), courier_id=name))
                await asyncio.sleep(5)
            elif self.is_stormy and self.random.random() < 0.1:
                await self._say(ShiftEnded(shift_id=shift_id))

    async def _carry(self, name: str, order_id: str) -> None:
        """Report positions and deliver it; or say nothing for a while, and then that it is delivered; or vanish."""
        if self.is_stormy and self.random.random() < 0.4:
            if name != self.couriers[0] and self.random.random() < 0.3:
                self._gone.add(name)
                return
            await asyncio.sleep(self.random.uniform(0, 3 * MISSED_SECONDS))
        for _ in range(self.random.choice((0, 1, 2))):
            await self._say(
                PositionReported(
                    order_id=order_id, position_id=self._new(order_id), courier_id=name, latitude=52.5, longitude=13.4
                )
            )
            await asyncio.sleep(self.random.uniform(0, 2))
        await self._say(OrderDelivered(order_id=order_id, courier_id=name))

    async def _say(self, event: Event) -> None:
        """Until it is acknowledged, and perhaps once more."""
        message = Message(type(event).type, event.model_dump_json().encode(), {})
        for _ in range(self.random.choice((1, 1, 2))):
            await self._publish(message)

    async def _publish(self, message: Message) -> None:
        await self.town.ready.wait()
        while True:
            try:
                await self.town.context.publisher.record(message)
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return

    def _new(self, about: str) -> str:
        self._said[about] += 1
        return f"{about}-{self._said[about]}"

    @property
    def _roster(self) -> CourierRoster:
        """The newest one that is stored, as the couriers see it."""
        kept, subject = self.world.broker.streams[delivery.stream].messages.values(), subject_of(CourierRoster, DEPOT)
        return next((CourierRoster.read(m.data) for m in reversed(kept) if m.subject == subject), empty_roster())

    @property
    def _is_idle(self) -> bool:
        return not (self._roster.waiting or self._roster.rides)

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises."""
        books = collected(self.world.broker, [service.stream for service in self.world.services])
        for check in delivery_checks.CHECKS:
            if check is not delivery_checks.delayed_are_told:  # nobody sends mails here
                yield from check(books)
        for order_id in self.orders:
            story = books.stories[order_id].keys()
            if CAPTURED not in story or len({DELIVERED, CALLED_OFF} & story) != 1:
                yield f"{order_id}: is neither delivered nor called off, or both: {sorted(story)}"
        yield from (f"given up: {each}: {each.reason}" for each in books.letters if each.position[0] != INTAKE)
