"""Deliveries set aside, for a deadline, a long pause or a replay.

A scheduled message (ADR-51) waits in the service's own timer stream and frees the consumer's slot meanwhile. What comes
back, on a lane that only its reaction reads, is the original message, with where it came from in the headers.
"""

from contextlib import suppress

from jetmesh.common import lenient
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.headers import Headers, Jetmesh, Nats, foreign
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.runtime.origin import of
from jetmesh.topology.names import due, timer


def origin(reaction: str, delivery: Delivery, attempts: int) -> Headers:
    """The headers with which a message set aside finds back, after so many attempts."""
    return {
        Jetmesh.REACTION: reaction,
        Jetmesh.SUBJECT: delivery.subject,
        Jetmesh.STREAM: delivery.stream,
        Jetmesh.SEQUENCE: str(delivery.sequence),
        Jetmesh.ATTEMPTS: str(attempts),
        Jetmesh.FIRST_TIME: repr(delivery.timestamp),  # exactly: the id and key of what has none are derived from it
        **({Jetmesh.REPLAY: str(delivery.replay)} if delivery.replay else {}),
        **({Jetmesh.UNKNOWN_SINCE: repr(delivery.unknown_since)} if delivery.unknown_since else {}),
    }


async def set_aside(
    publisher: Publisher, service: str, reaction: str, delivery: Delivery, seconds: float, attempts: int
) -> None:
    """Bring the delivery back after `seconds`, once: a second schedule for it would move the first. `attempts` is how
    many of those it has had shall count.

    Whether it was taken is asked until it is known: given back as well, it would come on both lanes.

    Raises:
        Unavailable: the broker does not take it now; the delivery must not be acked.
        TooLarge: with where it came from in its headers, it is more than the broker takes.
    """
    place = of(service, reaction, delivery).tokens
    at = publisher.clock.utc(max(0.0, seconds))
    headers = foreign(delivery.headers) | origin(reaction, delivery, attempts)
    headers[Nats.SCHEDULE] = f"@at {at.isoformat().replace('+00:00', 'Z')}"
    headers[Nats.SCHEDULE_TARGET] = due(place)
    subject = timer(place)
    with suppress(Refused):
        await publisher.record_surely(Message(subject, delivery.data, headers, Guard(subject, 0)))


def brought_back(delivery: Delivery) -> tuple[str, Delivery]:
    """The reaction that a due delivery is for, and the delivery as it was: its attempts go on counting. Its subject
    says for whom it is and where it comes from; what does not say that is for none, and stands where it was found. The
    rest is believed because nobody else writes to this lane."""
    _, _, reaction, stream, place, *_ = [*delivery.subject.split("."), "", "", ""]
    said, sequence = delivery.headers, 0 if {"*", ">"} & {reaction, stream} else lenient.whole(place)
    original = Delivery(
        subject=said.get(Jetmesh.SUBJECT) or delivery.subject,
        headers=foreign(said),
        data=delivery.data,
        reply=delivery.reply,
        stream=stream if sequence else delivery.stream,
        sequence=sequence or delivery.sequence,
        delivered=lenient.whole(said.get(Jetmesh.ATTEMPTS, "")) + delivery.delivered,
        timestamp=lenient.seconds(said.get(Jetmesh.FIRST_TIME, "")) or delivery.timestamp,
    )
    original.shared = delivery.shared
    original.replay = lenient.whole(said.get(Jetmesh.REPLAY, ""))
    original.unknown_since = lenient.seconds(said.get(Jetmesh.UNKNOWN_SINCE, ""))
    return reaction if sequence else "", original
