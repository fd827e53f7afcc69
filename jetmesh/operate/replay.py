"""Replays a dead letter: delivers the original message of its stream, not what the letter says.

A service that stores a dead letter chooses its headers and its body. It can't choose the first tokens of the subject,
because an account may publish dead letters under its own name alone, nor the message in the stream. So the reaction is
that of the subject, the delivery is the original message, and a letter that says something else is refused.
"""

import json
from dataclasses import replace
from typing import Any

from jetmesh.cloudevents import STRUCTURED, decode_envelope, encoded
from jetmesh.common import json_body
from jetmesh.event import INTAKE, stream_of
from jetmesh.failure import BrokenContract
from jetmesh.jetstream.api import consumers_of, request
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import CONTENT_TYPE, TRACEPARENT, Headers, Jetmesh, foreign
from jetmesh.jetstream.headers import CloudEvents as Ce
from jetmesh.jetstream.leader_get import last_message, message_at
from jetmesh.jetstream.message import Guard, Message
from jetmesh.jetstream.subject import covers
from jetmesh.jetstream.transport import Transport
from jetmesh.runtime import delayed_redelivery
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.topology.difference import filters_of, former_names
from jetmesh.topology.names import due, timers_of


class Unfit(Exception):
    """A dead letter does not match its original message; the text says how, and what to do."""


async def source(connection: Transport, subject: str) -> RawDelivery:
    """The message that a letter is about, read from its stream.

    Raises:
        Unfit: it is gone, or another one.
        Unavailable: the broker does not answer.
    """
    origin = origin_of(subject)
    if not origin.sequence:
        raise Unfit(f"{subject} is not the subject of a dead letter; discard it")
    found = await _stored(connection, origin)
    if not origin.is_of(found.timestamp):
        raise Unfit(
            f"{origin.stream} {origin.sequence} is another message now: the stream is a new or restored one: "
            f"publish its body again by hand if it is needed (`jetmesh dlq show`), and discard it"
        )
    return found


async def original(connection: Transport, subject: str, headers: Headers, data: bytes) -> RawDelivery:
    """The message that a letter is about, where the letter says what that is.

    Raises:
        Unfit: it is gone, or another one, or the letter says something else.
        Unavailable: the broker does not answer.
    """
    origin, found = origin_of(subject), await source(connection, subject)
    for name, is_so in (
        (Jetmesh.SUBJECT, found.subject),
        (Jetmesh.SERVICE, origin.service),
        (Jetmesh.REACTION, origin.reaction),
    ):
        if headers.get(name, is_so) != is_so:
            raise Unfit(f"{name} says {headers[name]}, but it is {is_so}: the letter is forged; discard it")
    whole = Jetmesh.OMITTED_BYTES not in headers
    if found.data != data if whole else not found.data.startswith(data):
        raise Unfit(f"its body is not that of {origin.stream} {origin.sequence}: edit it, or discard it")
    return found


def mended(found: RawDelivery, data: bytes, event_id: str) -> RawDelivery:
    """The message with another body, as a new event that the first one caused.

    Raises:
        Unfit: the message is a structured CloudEvent, and the body is none.
    """
    headers = foreign(found.headers)
    if headers.get(CONTENT_TYPE, "").lower().startswith(STRUCTURED):
        data = _restructured(data, event_id, _id_of(found))
    else:
        own = {Ce.SPECVERSION: "1.0", Ce.TYPE: found.type, Ce.SOURCE: "/jetmesh/operators"}
        named = {name.lower() if name.lower().startswith(Ce.PREFIX) else name: value for name, value in headers.items()}
        headers = {**own, **named, Ce.ID: event_id, Ce.CAUSATION_ID: encoded(_id_of(found))}
    return RawDelivery(found.subject, headers, data, "", found.stream, found.sequence, found.delivered, found.timestamp)


def _id_of(found: RawDelivery) -> str:
    """The id of the event in a message, also where its body breaks the contract."""
    try:
        return decode_envelope(found).id
    except BrokenContract:
        named = {name.lower(): value for name, value in found.headers.items()}
        return named.get(Ce.ID) or found.position_id


def _restructured(data: bytes, event_id: str, cause: str) -> bytes:
    try:
        document = json_body.document(data)
    except json_body.Malformed as malformed:
        raise Unfit(f"the message is a structured CloudEvent, and the new body is no JSON: {malformed}") from None
    if not isinstance(document, dict):
        raise Unfit("the message is a structured CloudEvent, and the new body is no JSON object")
    return json.dumps({**document, "id": event_id, "causationid": cause}).encode()


def again(letter: int, origin: Origin, found: RawDelivery, traceparent: str) -> Message:
    """The message that delivers the original to the reaction of the origin, once."""
    headers = {
        **foreign(found.headers),
        **delayed_redelivery.origin(origin.reaction, found, attempts=0),
        Jetmesh.REPLAY: str(letter),
    }
    if traceparent and TRACEPARENT not in {name.lower() for name in headers}:
        headers[TRACEPARENT] = traceparent
    subject = due(origin.tokens)
    return Message(subject, found.data, headers, Guard(subject, 0))


async def is_under_way(connection: Transport, service: str, message: Message) -> bool:
    """Whether the delivery to the service on the subject of this one is of the same letter.

    Raises:
        Unavailable: the broker does not answer.
    """
    there = await last_message(connection, timers_of(stream_of(service)), message.subject)
    return there is not None and there.headers.get(Jetmesh.REPLAY) == message.headers[Jetmesh.REPLAY]


async def _stored(connection: Transport, origin: Origin) -> RawDelivery:
    found = await message_at(connection, origin.stream, origin.sequence)
    if found is None:
        where = f"{origin.stream} has no message {origin.sequence} any more"
        raise Unfit(f"{where}: publish its body again by hand if it is needed (`jetmesh dlq show`), and discard it")
    return found


async def reader(connection: Transport, subject: str, found: RawDelivery) -> Origin:
    """The origin of a letter, with the name that its reaction has now. Its durable must deliver the message: a letter
    must not fetch what the service may not read.

    Raises:
        Unfit: no durable of the reaction delivers it.
        Unavailable: the broker does not answer.
    """
    origin = origin_of(subject)
    name = "intake" if origin.stream == INTAKE else await _name(connection, origin)
    durable = f"{origin.service}-{name}"
    info: Any = await request(connection, f"CONSUMER.INFO.{origin.stream}.{durable}")
    if info is None or not any(covers(pattern, found.subject) for pattern in filters_of(info["config"]) or [">"]):
        raise Unfit(f"{origin.stream}/{durable} does not read {found.subject}: discard it")
    return origin if origin.stream == INTAKE else replace(origin, reaction=name)


async def _name(connection: Transport, origin: Origin) -> str:
    """The name of a reaction now, as the durables of its stream tell it; the one in the letter if none does."""
    beginning = f"{origin.service}-"
    for info in await consumers_of(connection, origin.stream):
        durable, former = str(info["config"].get("durable_name") or ""), former_names(info["config"])
        if durable.startswith(beginning) and origin.reaction in former:
            return durable.removeprefix(beginning)
    return origin.reaction
