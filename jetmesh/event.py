"""What the runtime needs of an event: a type, an owner, a key, and JSON in and out."""

import re
from datetime import datetime
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from jetmesh.history import UNKNOWN, History


@runtime_checkable
class Event(Protocol):
    """A fact in the past tense, owned by one service. Any class with these members is an event, such as `EventModel`.

    `type` is the CloudEvents type and, followed by the key, the subject (`payments.authorized` is recorded on
    `payments.authorized.o-1042`). A type that is `from_outside` may be published without a key in the subject, for its
    owner to check and record; the optional member `publisher` names the kind of user that may do so (`publisher_of`).
    Of a `state` type only the newest message per key counts. The optional member `ending` says that its owner's part
    of the key's story is over with it (`is_ending`). The optional members `occurrence` and `id_field` say that it
    happens many times about a key, and which field tells one from another (`is_occurrence`).
    """

    type: ClassVar[str]
    owner: ClassVar[str]
    key_field: ClassVar[str]
    from_outside: ClassVar[bool]
    state: ClassVar[bool]

    @property
    def key(self) -> str:
        """The entity that the event is about; one subject token."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The event in a JSON body; raises an error whose `errors()` name each wrong field."""

    def model_dump_json(self) -> str:
        """The JSON body."""


EventType = type[Event]

CLIENT = "client"
INTAKE = "INTAKE"
"""The stream of messages from outside: without a key in the subject, for their owner to check and record."""
TYPE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
"""What every type looks like: an entity, and what happened to it."""


class Recorded(NamedTuple):
    """An event in a stream, as a sink gets it: its place, time, cause and JSON body."""

    stream: str
    sequence: int
    type: str
    key: str
    time: datetime
    id: str
    source: str
    trace_id: str
    causation_id: str
    data: bytes
    history: History = UNKNOWN
    """The history of the stream: a stored position is valid in one history."""


def publisher_of(event_type: EventType) -> str:
    """The kind of user that may publish the type from outside: its member `publisher`, else `client`."""
    return str(getattr(event_type, "publisher", CLIENT))


def is_ending(event_type: EventType) -> bool:
    """Whether its owner's part of a story is over with it: its member `ending`, else False."""
    return bool(getattr(event_type, "ending", False))


def is_occurrence(event_type: EventType) -> bool:
    """Whether it happens many times about a key, and each stands for itself: its member `occurrence`, else False."""
    return bool(getattr(event_type, "occurrence", False))


def id_field_of(event_type: EventType) -> str:
    """The field that tells one occurrence from another: its member `id_field`. Empty: the cause tells it."""
    return str(getattr(event_type, "id_field", ""))


def id_of(event: Event) -> str:
    """What tells this occurrence from the others about its key; empty if only its cause does."""
    return str(getattr(event, field)) if (field := id_field_of(type(event))) else ""


def is_milestone(event_type: EventType) -> bool:
    """Whether it happens at most once per key: it is neither a state nor an occurrence."""
    return not event_type.state and not is_occurrence(event_type)


def entity_of(event_type: EventType) -> str:
    """The first token of the type: events of one entity share their stories."""
    return event_type.type.partition(".")[0]


def stream_of(owner: str) -> str:
    """The name of the stream that holds what the service `owner` recorded."""
    return owner.upper().replace("-", "_")
