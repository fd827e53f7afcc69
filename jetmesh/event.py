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


def subject_of(event_type: EventType, key: str) -> str:
    """The subject that an event of this type about `key` is recorded on."""
    return f"{event_type.type}.{key}"


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


ENDED = "ENDED"
"""In the place of an event's name: the marker of a story that ended and is archived. No event's name is in capitals."""


def ended_subject(entity: str, key: str) -> str:
    """The subject of the marker that stays of an archived story: the guards of the key stand on it."""
    return f"{entity}.{ENDED}.{key}"


def is_ended(subject: str) -> bool:
    """Whether it is the subject of such a marker, and of no event."""
    return subject.split(".", 2)[1:2] == [ENDED]


def story_subject(entity: str, key: str) -> str:
    """All events of one entity about one key. Every guard of the key is spelled by this function and no other: on a
    replicated stream the server compares the spelling of guards in flight (two spellings: both writers pass)."""
    return f"{entity}.*.{key}"


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a filter's: `*` is one token, `>` all that follow; an empty filter takes all."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    if not pattern:
        return True
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))
