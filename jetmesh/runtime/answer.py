"""What the broker is answered when the outcome of a delivery is known."""

from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.outcome import Again, Outcome


def answer(in_flight: InFlight, delivery: RawDelivery, outcome: Outcome) -> None:
    """Answer the broker: ack, or nak with a pause; nothing while the delivery is held."""
    if outcome.error is not None and isinstance(outcome, Again) and not outcome.is_delayed:
        in_flight.nak(delivery, outcome.pause_seconds)
    elif not outcome.is_held:
        in_flight.ack(delivery)
