"""What the runtime asks of an event: a type, an owner, a key, JSON in and out. Any contract package can give it."""

from datetime import datetime
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from jetmesh.history import UNTOLD, History


@runtime_checkable
class Event(Protocol):
    """A fact in the past tense, owned by one service (structural: a pydantic model with these members is an event).

    `type` is the CloudEvents type and, followed by the key, the subject (`payments.authorized` is recorded on
    `payments.authorized.o-1042`). `from_outside` types may be published without a key in the subject, for their owner
    to check and record; by whom, an optional member `publisher` says (`publisher_of`). A `state` type is a level: its
    newest message per key is the one that counts. An optional member `ending` says that with it its owner's part of
    the key's story is over (`is_ending`).
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


class Recorded(NamedTuple):
    """An event as it stands in a stream: where, when, why, and its JSON body. What a sink gets."""

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
    history: History = UNTOLD
    """That of the stream: the position of a store is of one history."""


def publisher_of(event_type: EventType) -> str:
    """The kind of the broker's users who may publish the type from outside: what its member `publisher` says, else
    those that everybody is, `client`."""
    return str(getattr(event_type, "publisher", CLIENT))


def is_ending(event_type: EventType) -> bool:
    """Whether its owner's part of a story is over with it: what its member `ending` says, else not."""
    return bool(getattr(event_type, "ending", False))


def entity_of(event_type: EventType) -> str:
    """The first token of the type: events of one entity share their stories."""
    return event_type.type.partition(".")[0]


def stream_of(owner: str) -> str:
    """The name of the stream that holds what the service `owner` recorded."""
    return owner.upper().replace("-", "_")
