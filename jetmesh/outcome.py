"""How one attempt at one delivery ended: what comes up the chain of handlers (`jetmesh.runtime.handle`).

`name` is what traces, metrics and `jetmesh top` call it; it stands nowhere else.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from jetmesh.event import Event


class Outcome:
    """The base. `events` were recorded, `error` was raised; most outcomes have neither."""

    __slots__ = ()

    name: ClassVar[str]
    is_failure: ClassVar[bool] = False
    events: tuple[Event, ...] = ()
    error: Exception | None = None
    is_held: ClassVar[bool] = False
    """Whether the delivery stays in this process and the broker is not answered yet."""


@dataclass(slots=True)
class EventsRecorded(Outcome):
    """The reaction decided, and its events are stored."""

    events: tuple[Event, ...] = field()
    name: ClassVar[str] = "recorded"


class Settled(Outcome):
    """What was recorded before leaves nothing to do."""

    __slots__ = ()
    name: ClassVar[str] = "settled"


class Nothing(Outcome):
    """The reaction decided that nothing follows."""

    __slots__ = ()
    name: ClassVar[str] = "nothing"


class Kept(Outcome):
    """A sink's store has it."""

    __slots__ = ()
    name: ClassVar[str] = "kept"


@dataclass(slots=True)
class Held(Outcome):
    """What the reaction needs is down: the delivery waits in this process, and is tried again when that is back."""

    error: Exception = field()
    name: ClassVar[str] = "retry"
    is_failure: ClassVar[bool] = True
    is_held: ClassVar[bool] = True


@dataclass(slots=True)
class Again(Outcome):
    """The delivery comes again after a pause: from its consumer, or from the timer stream, where it is delayed."""

    error: Exception = field()
    pause_seconds: float = field()
    is_delayed: bool = False


class Later(Again):
    """What the reaction waits for has not happened yet."""

    __slots__ = ()
    name: ClassVar[str] = "later"


class Retried(Again):
    """The attempt failed, and another one follows."""

    __slots__ = ()
    name: ClassVar[str] = "retry"
    is_failure: ClassVar[bool] = True


class GivenBack(Again):
    """It is left to another version of the service, or to another durable."""

    __slots__ = ()
    name: ClassVar[str] = "given_back"


@dataclass(slots=True)
class DeadLettered(Outcome):
    """The delivery was given up: its dead letter names the error."""

    error: Exception = field()
    name: ClassVar[str] = "dead_letter"
    is_failure: ClassVar[bool] = True
