"""The couriers of a demo: they deliver what the roster gives them, and report positions on the way."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

from jetmesh.common.tasks import cancelled
from jetmesh.failure import Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import subject_of
from jetmesh.runtime.context import Context
from jetmesh_contracts import CourierRoster, Event, OrderDelivered, PositionReported, Ride, ShiftBegun, ShiftEnded
from jetmesh_shop.delivery.domain import DEPOT, empty_roster
from jetmesh_shop.delivery.service import delivery

PREFIX = "courier-"
FEW, ORDERS_EACH = 8, 50
POSITIONS = 2
POLL_SECONDS = 0.1
AGAIN_SECONDS = 10.0
"""When something is said again that had no effect."""


class Couriers:
    """So many couriers. What they have to do is read from the roster, so that whoever plays them next goes on."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self.names: list[str] = []
        self.be_at_least(count)
        self._shifts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._said: dict[str, float] = {}
        self._silent: set[str] = set()
        self._kept: dict[str, str] = {}

    def be_at_least(self, count: int) -> None:
        """Let more of them come on duty, where they are fewer."""
        self.names += [f"{PREFIX}{number}" for number in range(len(self.names) + 1, count + 1)]

    async def carry(self) -> None:
        """Come on duty, and deliver, for ever."""
        while True:
            with suppress(Unavailable):
                await self._say(self._next(await self._roster()))
            await asyncio.sleep(POLL_SECONDS)

    async def rest(self, name: str) -> None:
        """Let a courier go off duty; the next shift begins soon."""
        with suppress(Unavailable):
            await self._say([ShiftEnded(shift_id=self._shift(name))])
            self._said.pop(name, None)

    def vanish(self, name: str) -> None:
        """Let a courier say nothing, until `come_back`."""
        self._silent.add(name)

    def come_back(self, name: str) -> None:
        """Let a courier who vanished say what was delivered meanwhile, whoever has it by then; and begin a shift."""
        self._silent.discard(name)
        self._said.pop(name, None)

    async def are_idle(self) -> bool:
        """Whether no order waits or is on its way.

        Raises:
            Unavailable: the broker does not answer.
        """
        roster = await self._roster()
        return not (roster.waiting or roster.rides)

    async def _roster(self) -> CourierRoster:
        found = await self._context.direct_get.last(delivery.stream, [subject_of(CourierRoster, DEPOT)])
        return CourierRoster.read(found[0].data) if found else empty_roster()

    def _next(self, roster: CourierRoster) -> Iterator[Event]:
        on_duty = {duty.courier_id for duty in roster.on_duty}
        for name in self.names:
            if name not in on_duty and name not in self._silent and self._is_due(name):
                yield ShiftBegun(shift_id=self._next_shift(name), courier_id=name)
        for ride in roster.rides:
            if ride.courier_id in self._silent:
                self._kept[ride.order_id] = ride.courier_id
            elif ride.courier_id.startswith(PREFIX):
                yield from self._on_the_way(ride)
        for order_id, name in [kept for kept in self._kept.items() if kept[1] not in self._silent]:
            del self._kept[order_id]
            yield OrderDelivered(order_id=order_id, courier_id=name)

    def _on_the_way(self, ride: Ride) -> Iterator[Event]:
        """A position at each look, then the delivery."""
        order_id, courier_id = ride.order_id, ride.courier_id
        self._reported[order_id] += 1
        number = self._reported[order_id]
        if number <= POSITIONS:
            yield PositionReported(
                order_id=order_id, position_id=f"p-{number}", courier_id=courier_id,
                latitude=52.5 + number / 1_000, longitude=13.4,
            )  # fmt: skip
        elif self._is_due(order_id):
            yield OrderDelivered(order_id=order_id, courier_id=courier_id)

    def _next_shift(self, name: str) -> str:
        """A shift that was ended for a courier does not begin again."""
        self._shifts[name] += 1
        return self._shift(name)

    def _shift(self, name: str) -> str:
        return f"{name}-{self._shifts[name]}"

    def _is_due(self, what: str) -> bool:
        """Whether it is time to say this, for the first time or again."""
        now = time.monotonic()
        if now - self._said.get(what, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        self._said[what] = now
        return True

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
    carrying = asyncio.create_task(couriers.carry())
    try:
        yield couriers
    finally:
        await cancelled(carrying)
