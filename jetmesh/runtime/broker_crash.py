"""Deliveries that another process may also have: a broker that crashes forgets the deliveries of its last moments (a
tenth of a second, measured), and makes them again, perhaps to another process.

A reaction that does something outside, such as sending a mail, gives such a delivery back once, for a few seconds. By
then the process that had it first has reported it in progress (`InFlight`), or has recorded its outcome.
"""

import time

from jetmesh.failure import Retry
from jetmesh.jetstream.delivery import Position, RawDelivery
from jetmesh.jetstream.transport import Transport

ALL_SECONDS = 2.0
"""How long after the broker is back every delivery is put off: other processes may reconnect a little later."""
OLD_SECONDS = 300.0
"""How long older messages are put off: with full slots they arrive late."""
PAUSE_SECONDS = 4.0
DELIVERED_MAX = 2
CLOCKS_SECONDS = 1.0
PLACES_MAX = 16_384


class Doubt:
    """Decides whether another process may have a delivery to one reaction; each delivery is put off once."""

    def __init__(self, connection: Transport) -> None:
        self._all_until = self._back_at = 0.0
        self.until = 0.0
        """Until when there is any doubt; 0: there is none."""
        self._put_off: set[Position] = set()
        self._clock = connection.clock
        connection.on_reconnected(self._begin)

    def puts_off(self, delivery: RawDelivery, retry: Retry) -> bool:
        """Whether to give the delivery back for `PAUSE_SECONDS`; never if that would use up its last attempt."""
        now, position = time.monotonic(), (delivery.stream, delivery.sequence)
        if now > self.until or len(self._put_off) > PLACES_MAX:
            self._end()
            return False
        is_old = delivery.timestamp < self._back_at and delivery.delivered <= DELIVERED_MAX
        is_last = retry.exhausted(delivery.delivered + 1)
        if is_last or position in self._put_off or not (is_old or now < self._all_until):
            return False
        self._put_off.add(position)
        return True

    def _begin(self) -> None:
        """The broker is back."""
        self._end()
        now = time.monotonic()
        self._all_until, self.until = now + ALL_SECONDS, now + OLD_SECONDS
        self._back_at = self._clock.now() + CLOCKS_SECONDS

    def _end(self) -> None:
        self.until = 0.0
        self._put_off.clear()
