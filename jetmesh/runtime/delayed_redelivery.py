"""Delayed redeliveries: deliveries taken off their consumer for a long pause or a replay.

A scheduled message (ADR-51) waits in the service's timer stream and holds no slot of the consumer. When it is due, the
original message comes back on a subject that only this service reads; its headers say where it came from.
"""

import math
from contextlib import suppress
from datetime import datetime

from jetmesh.common import lenient
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import Headers, Jetmesh, Nats, as_published, foreign
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.runtime.origin import of
from jetmesh.topology.names import due, timer


def origin(reaction: str, delivery: RawDelivery, attempts: int) -> Headers:
    """The headers that say where the message came from, and how many attempts it has had."""
    return {
        Jetmesh.REACTION: reaction,
        Jetmesh.SUBJECT: delivery.subject,
        Jetmesh.STREAM: delivery.stream,
        Jetmesh.SEQUENCE: str(delivery.sequence),
        Jetmesh.ATTEMPTS: str(attempts),
        Jetmesh.FIRST_TIME: repr(delivery.timestamp),  # exact: a missing id or key is derived from it
        **({Jetmesh.REPLAY: str(delivery.replay)} if delivery.replay else {}),
        **({Jetmesh.UNKNOWN_SINCE: repr(delivery.unknown_since)} if delivery.unknown_since else {}),
    }


async def delay(
    publisher: Publisher, service: str, reaction: str, delivery: RawDelivery, seconds: float, attempts: int
) -> None:
    """Schedule the delivery to come back after `seconds`, once: a second schedule would move the first. `attempts` is
    the number of attempts that count.

    It asks until it is known whether the schedule is stored: a nak as well would make two deliveries.

    Raises:
        Unavailable: the broker does not take it now; the delivery must not be acked.
        TooLarge: with the additional headers it is larger than the broker takes.
    """
    place = of(service, reaction, delivery).tokens
    headers = foreign(delivery.headers) | origin(reaction, delivery, attempts)
    headers |= _schedule(publisher.clock.utc(max(0.0, seconds)), due(place))
    subject = timer(place)
    with suppress(Refused):
        await publisher.record_surely(Message(subject, delivery.data, headers, Guard(subject, 0)))


def due_at(timer: Stored) -> float:
    """When a timer is due, in seconds since 1970; infinite for what is due at no time, or again and again."""
    kind, _, at = timer.headers.get(Nats.SCHEDULE, "").partition(" ")
    return lenient.moment(at).timestamp() if kind == "@at" else math.inf


async def schedule_again(publisher: Publisher, message: Stored) -> None:
    """Let a timer, or what came of one, be due now; in the stream it takes the place of what came before.

    Raises:
        Refused: it has come, or is scheduled again already.
        Unavailable: the broker does not take it now.
    """
    place = message.subject.partition(".")[2]
    subject = timer(place)
    again = _schedule(publisher.clock.utc(), due(place)) | {Nats.SCHEDULE_ROLLUP: "sub"}
    guard = Guard(subject, message.sequence if message.subject == subject else 0)
    headers = as_published(message.headers) | again
    await publisher.record(Message(subject, message.data, headers, guard), limited=False)


def _schedule(at: datetime, target: str) -> Headers:
    return {Nats.SCHEDULE: f"@at {at.isoformat().replace('+00:00', 'Z')}", Nats.SCHEDULE_TARGET: target}


def brought_back(delivery: RawDelivery) -> tuple[str, RawDelivery]:
    """The reaction of a due delivery, and the original delivery with its attempts. The subject names reaction and
    place; a message without them is for no reaction. The headers are trusted, because only the service publishes
    there."""
    _, _, reaction, stream, place, *_ = [*delivery.subject.split("."), "", "", ""]
    said, sequence = delivery.headers, 0 if {"*", ">"} & {reaction, stream} else lenient.whole(place)
    original = RawDelivery(
        subject=said.get(Jetmesh.SUBJECT) or delivery.subject,
        headers=foreign(said),
        data=delivery.data,
        reply=delivery.reply,
        stream=stream if sequence else delivery.stream,
        sequence=sequence or delivery.sequence,
        delivered=lenient.whole(said.get(Jetmesh.ATTEMPTS, "")) + delivery.delivered,
        timestamp=lenient.seconds(said.get(Jetmesh.FIRST_TIME, "")) or delivery.timestamp,
        shared=delivery.shared,
        replay=lenient.whole(said.get(Jetmesh.REPLAY, "")),
        unknown_since=lenient.seconds(said.get(Jetmesh.UNKNOWN_SINCE, "")),
    )
    return reaction if sequence else "", original
