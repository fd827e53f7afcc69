"""A dead letter brought back to its reaction: the message of the stream that it came from, not the letter's own words.

Whoever may bury a letter chooses its headers and its body. The server chose its subject's first tokens, for an account
buries under its own name alone, and what stands in the stream of origin. So these two decide: the reaction is that of
the subject, what it gets is the original, and a letter that says something else is refused.
"""

from base64 import b64decode
from datetime import datetime
from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.headers import TRACEPARENT, Headers, Jetmesh, decode_headers, foreign
from jetmesh.jetstream.message import Guard, Message
from jetmesh.jetstream.subject import covers
from jetmesh.jetstream.transport import Transport
from jetmesh.runtime import delayed_redelivery
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.service import INTAKE
from jetmesh.topology.difference import filters_of
from jetmesh.topology.names import due


class Unfit(Exception):
    """A letter that does not fit the message that it is about; the text says how."""


async def original(connection: Transport, subject: str, headers: Headers, data: bytes) -> Delivery:
    """The message that a letter is about, from the stream of origin, as the reaction had it.

    Raises:
        Unfit: there is none, it is another one, or it is none that this reaction reads.
        Unavailable: the broker does not answer.
    """
    origin = origin_of(subject)
    if not origin.sequence:
        raise Unfit(f"{subject} is no letter's subject; discard it")
    found = await _stored(connection, origin)
    if not origin.is_of(found.timestamp):
        raise Unfit(
            f"{origin.stream} {origin.sequence} is another message now, for the stream was made anew or restored: "
            f"publish its body again by hand if it is needed (`jetmesh dlq show`), and discard it"
        )
    for name, is_so in (
        (Jetmesh.SUBJECT, found.subject),
        (Jetmesh.SERVICE, origin.service),
        (Jetmesh.REACTION, origin.reaction),
    ):
        if headers.get(name, is_so) != is_so:
            raise Unfit(f"{name} says {headers[name]}, but it is {is_so}: somebody forged the letter; discard it")
    whole = Jetmesh.OMITTED_BYTES not in headers
    if found.data != data if whole else not found.data.startswith(data):
        raise Unfit(f"its body is not that of {origin.stream} {origin.sequence}: discard it")
    await _check_reads(connection, origin, found.subject)
    return found


def again(letter: int, subject: str, found: Delivery, traceparent: str) -> Message:
    """The message that brings the original back to the reaction of a letter's subject, once."""
    origin = origin_of(subject)
    headers = {
        **foreign(found.headers),
        **delayed_redelivery.origin(origin.reaction, found, attempts=0),
        Jetmesh.REPLAY: str(letter),
    }
    if traceparent and TRACEPARENT not in {name.lower() for name in headers}:
        headers[TRACEPARENT] = traceparent
    subject = due(origin.tokens)
    return Message(subject, found.data, headers, Guard(subject, 0))


async def _stored(connection: Transport, origin: Origin) -> Delivery:
    answer = await request(connection, f"STREAM.MSG.GET.{origin.stream}", {"seq": origin.sequence})
    if answer is None:
        where = f"{origin.stream} has no message {origin.sequence} any more"
        raise Unfit(f"{where}: publish its body again by hand if it is needed (`jetmesh dlq show`), and discard it")
    message = answer["message"]
    return Delivery(
        subject=message["subject"],
        headers=decode_headers(b64decode(message["hdrs"])) if "hdrs" in message else {},
        data=b64decode(message.get("data", "")),
        reply="",
        stream=origin.stream,
        sequence=origin.sequence,
        delivered=0,
        timestamp=_seconds(message["time"]),
    )


def _seconds(instant: str) -> float:
    """The time of the server, to the nanosecond, as a delivery has it: ids are derived from it."""
    whole, _, fraction = instant.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return (seconds * 10**9 + int(fraction.ljust(9, "0")[:9])) / 1e9


async def _check_reads(connection: Transport, origin: Origin, subject: str) -> None:
    """Whether the service's durable would have delivered it: a letter must not fetch for its service what it may not
    read."""
    durable = f"{origin.service}-{'intake' if origin.stream == INTAKE else origin.reaction}"
    info: Any = await request(connection, f"CONSUMER.INFO.{origin.stream}.{durable}")
    if info is None or not any(covers(pattern, subject) for pattern in filters_of(info["config"]) or [">"]):
        raise Unfit(f"{origin.stream}/{durable} does not read {subject}: discard it")
