"""The couriers of a demo: each delivers what the roster gives him, and says where he is on the way."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from jetmesh.common.tasks import cancelled
from jetmesh.failure import Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import subject_of
from jetmesh.runtime.context import Context
from jetmesh_contracts import CourierRoster, Event, OrderDelivered, PositionReported, Ride, ShiftBegun
from jetmesh_shop.delivery.domain import DEPOT, empty_roster
from jetmesh_shop.delivery.service import delivery

FEW, ORDERS_EACH = 8, 50
POSITIONS = 2
POLL_SECONDS = 0.1
AGAIN_SECONDS = 10.0
"""When a courier who still has an order says again that it is delivered."""


class Couriers:
    """Couriers on duty; what they did is read from the roster, so that whoever plays them next goes on."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._names = [f"courier-{number}" for number in range(1, count + 1)]
        self._reported: Counter[str] = Counter()
        self._delivered: dict[str, float] = {}

    async def begin(self) -> None:
        """Begin the shift of each: recorded once, however often the demo starts."""
        await self._say(ShiftBegun(shift_id=f"opening-{name}", courier_id=name) for name in self._names)

    async def carry(self) -> None:
        """Deliver, for ever."""
        while True:
            with suppress(Unavailable):
                roster = await self.roster()
                await self._say(said for ride in roster.rides if ride.courier_id in self._names
                                for said in self._on_the_way(ride))  # fmt: skip
            await asyncio.sleep(POLL_SECONDS)

    async def are_idle(self) -> bool:
        """Whether no order waits or is on its way.

        Raises:
            Unavailable: the broker does not answer.
        """
        roster = await self.roster()
        return not (roster.waiting or roster.rides)

    async def roster(self) -> CourierRoster:
        """Who carries what.

        Raises:
            Unavailable: the broker does not answer.
        """
        found = await self._context.direct_get.last(delivery.stream, [subject_of(CourierRoster, DEPOT)])
        return CourierRoster.read(found[0].data) if found else empty_roster()

    def _on_the_way(self, ride: Ride) -> Iterable[Event]:
        """A position at each look, then the delivery."""
        order_id, courier_id = ride.order_id, ride.courier_id
        self._reported[order_id] += 1
        number = self._reported[order_id]
        if number <= POSITIONS:
            yield PositionReported(
                order_id=order_id, position_id=f"p-{number}", courier_id=courier_id,
                latitude=52.5 + number / 1_000, longitude=13.4,
            )  # fmt: skip
        elif time.monotonic() - self._delivered.get(order_id, -AGAIN_SECONDS) >= AGAIN_SECONDS:
            self._delivered[order_id] = time.monotonic()
            yield OrderDelivered(order_id=order_id, courier_id=courier_id)

    async def _say(self, events: Iterable[Event]) -> None:
        """Publish from outside."""
        messages = [Message(type(event).type, event.model_dump_json().encode(), {}) for event in events]
        await asyncio.gather(*map(self._context.publisher.record, messages))


def enough_for(orders: int) -> int:
    """So many couriers that so many orders do not wait for long."""
    return FEW + orders // ORDERS_EACH


@asynccontextmanager
async def on_duty(context: Context, count: int = FEW) -> AsyncIterator[Couriers]:
    """So many couriers, who carry until the block ends."""
    couriers = Couriers(context, count)
    await couriers.begin()
    carrying = asyncio.create_task(couriers.carry())
    try:
        yield couriers
    finally:
        await cancelled(carrying)
