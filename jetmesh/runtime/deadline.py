"""Deadlines: a durable that reads the stream late.

Events come in the order of their time. So while the first is not due, none is, and nothing has to be scheduled.
"""

from collections.abc import Callable

from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.runtime.context import Context

CLOCK_SECONDS = 1.0
"""How long a deadline waits until the broker's time is known."""


def when_due(
    context: Context, delay_seconds: float, accept: Callable[[RawDelivery], None]
) -> Callable[[RawDelivery], None]:
    """Accept a delivery once its delay has passed since it was recorded, or since the last restore, by the broker's
    clock. Until then it is given back, and its pull rests."""
    clock = context.connection.clock

    def take(delivery: RawDelivery) -> None:
        began = context.histories.of(delivery.stream).counted_from(delivery.timestamp)
        left = began + delay_seconds - clock.now() if clock.is_known else CLOCK_SECONDS
        if left <= 0:
            accept(delivery)
        else:
            context.in_flight.rest(delivery, left)

    return take
