"""What may be in other hands: after a crash the broker has forgotten what it delivered in its last moments (a tenth
of a second, measured), and delivers it anew, to another process as well.

Whoever does something outside, such as sending a mail, gives such a delivery back once, for a few seconds. So the
broker knows of it again, and whoever has it in hand says that it is still worked on (`Custody`), or has recorded it.
"""

import time

from jetmesh.failure import Retry
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.transport import Transport

ALL_SECONDS = 2.0
"""So long after the broker is back everything is put off: others may find it a little later."""
OLD_SECONDS = 300.0
"""And so long what is older than that: with full hands it comes late."""
PAUSE_SECONDS = 4.0
DELIVERED_MAX = 2
CLOCKS_SECONDS = 1.0
PLACES_MAX = 16_384

Place = tuple[str, int]


class Doubt:
    """Whether a delivery to one reaction in this process may be in other hands; each is put off once."""

    def __init__(self, connection: Transport) -> None:
        self._all_until = self._old_until = self._back_at = 0.0
        self._put_off: set[Place] = set()
        self._clock = connection.clock
        connection.on_reconnected(self._begin)

    def puts_off(self, delivery: Delivery, retry: Retry) -> bool:
        """Whether the delivery shall be given back for `PAUSE_SECONDS`, which must not use up its last attempt."""
        if not self._old_until:
            return False
        now, place = time.monotonic(), (delivery.stream, delivery.sequence)
        if now > self._old_until or len(self._put_off) > PLACES_MAX:
            self._end()
            return False
        is_old = delivery.timestamp < self._back_at and delivery.delivered <= DELIVERED_MAX
        is_last = retry.exhausted(delivery.delivered + 1)
        if is_last or place in self._put_off or not (is_old or now < self._all_until):
            return False
        self._put_off.add(place)
        return True

    def _begin(self) -> None:
        """The broker is back."""
        self._end()
        now = time.monotonic()
        self._all_until, self._old_until = now + ALL_SECONDS, now + OLD_SECONDS
        self._back_at = self._clock.now() + CLOCKS_SECONDS

    def _end(self) -> None:
        self._old_until = 0.0
        self._put_off.clear()
