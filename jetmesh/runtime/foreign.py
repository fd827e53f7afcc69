"""Messages of foreign streams: what stands in the place of their envelope, and how they become events.

Such a message has no CloudEvents attributes, and its subject is not ours: its id is made of its place in the stream,
its type is that of the event which the decoder makes, and its key is in that event.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jetmesh.cloudevents import Envelope, complaint, json_object, read_event, undecoded
from jetmesh.event import Event, EventType
from jetmesh.failure import BrokenContract
from jetmesh.foreign import ForeignMessage, Listens
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.reaction import Reaction


def envelope_of(reaction: Reaction) -> Callable[[RawDelivery], Envelope]:
    """Makes the envelope of a delivery; the delivery is from outside from then on, and not about what its subject's
    tokens would say of one of ours."""
    (event_type,) = reaction.events

    def envelope(delivery: RawDelivery) -> Envelope:
        delivery.type, delivery.key, delivery.occurrence = event_type.type, "", ""
        return undecoded(delivery)

    return envelope


def decoder(reaction: Reaction, listens: Listens) -> Callable[[RawDelivery], Event]:
    """Makes the event of a message. Whatever the decoder raises is Permanent: the message stays what it is."""
    (event_type,) = reaction.events
    names = listens.names

    def made(delivery: RawDelivery) -> Event:
        tokens = delivery.subject.split(".")
        message = _message(delivery, {name: tokens[place] for name, place in names.items()})
        return _decoded(message, event_type, listens) if listens.decode else _read(message, event_type)

    return made


def _message(delivery: RawDelivery, tokens: dict[str, str]) -> ForeignMessage:
    return ForeignMessage(
        subject=delivery.subject,
        data=delivery.data,
        headers=delivery.headers,
        tokens=tokens,
        stream=delivery.stream,
        sequence=delivery.sequence,
        time=datetime.fromtimestamp(delivery.timestamp, UTC),
    )


def _decoded(message: ForeignMessage, event_type: EventType, listens: Listens) -> Event:
    assert listens.decode is not None
    name = getattr(listens.decode, "__name__", repr(listens.decode))
    try:
        made = listens.decode(message)
    except ValueError as invalid:
        why = complaint(invalid)
    except Exception as surprise:
        why = f"{name} raised {surprise!r}"
    else:
        if type(made) is event_type:
            return made
        why = f"{name} returned {type(made).__name__}, not {event_type.__name__}"
    # Raised outside of the handler: the decoder's error may hold the whole body, and ours would keep it alive.
    raise BrokenContract(f"{message.subject}: {why}")


def _read(message: ForeignMessage, event_type: EventType) -> Event:
    """The event in a body of JSON, with the named tokens of its subject."""
    document = json_object(message.data, "it is no JSON object")
    for name, token in message.tokens.items():
        if document.setdefault(name, token) != token:
            raise BrokenContract(f"{name}: the body has another one than the subject, {message.subject}")
    event: Any = read_event(event_type, json.dumps(document).encode())
    return event  # type: ignore[no-any-return]
