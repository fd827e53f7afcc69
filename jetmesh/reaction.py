"""A reaction and an endpoint, as they are declared: what the rest of the runtime reads of a service."""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from jetmesh.event import EventType, entity_of, is_occurrence
from jetmesh.failure import Retry
from jetmesh.foreign import Listens
from jetmesh.forms import Form
from jetmesh.middleware import Middleware
from jetmesh.rate import Rate
from jetmesh.request_model import RequestType
from jetmesh.schedule import Schedule, Tick
from jetmesh.since import Since

Pool = Literal["threads", "processes"]


class DeclarationError(TypeError):
    """A reaction's signature is wrong; the text names the function, the type and the fix."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """One function of a service: from an event to the events that may follow."""

    service: str
    name: str
    form: Form
    function: Callable[..., Any]
    events: tuple[EventType, ...]
    outcomes: tuple[EventType, ...]
    retry: Retry = Retry()
    needs: type | None = None
    delay: timedelta | None = None
    story: type | None = None
    arguments: tuple[str, ...] = ()
    middlewares: tuple[Middleware, ...] = ()
    pool: Pool | None = None
    """Where a plain function runs, so that it does not block the others; None: it is async, and runs on the loop."""
    is_optional: bool = False
    """Whether it may record nothing: its return type includes None."""
    since: Since | None = None
    """Where its durables begin when they are made; None: whoever makes them is asked, if there are past events."""
    formerly: tuple[str, ...] = ()
    """The names that it had before, oldest first."""
    concurrency: int = 0
    """How many attempts may run at a time, in all processes together; 0: as many as there are slots."""
    in_order: bool = False
    """Whether one delivery is settled before the next one begins, in all processes together."""
    limit: Rate | None = None
    """How often its deliveries may begin, in all processes together; None: as they come."""
    is_several: bool = False
    """Whether it may record several events at once: its return type includes a tuple or a list."""
    about: str = ""
    """The field of what arrives that names the key of the story; empty: what arrives is about that key."""
    at: str = ""
    """The field of its event that says when it is handled; empty: at once."""
    urgent: tuple[EventType, ...] = ()
    """The types among its events that go first: they come by an express durable too, which has slots of its own."""
    listens: Listens | None = None
    """The subjects of a foreign stream, and the decoder that makes its event of a message there."""
    schedule: Schedule | None = None
    """When it is due, if it reacts to the clock: to no event, but to the ticks of its schedule."""

    @property
    def in_flight_max(self) -> int:
        """How many of its deliveries may be in flight on each stream, in all processes together; 0: what is usual."""
        return 1 if self.in_order else self.concurrency

    @property
    def arrives(self) -> tuple[EventType, ...]:
        """What its function takes: events, or the ticks of its schedule."""
        return (Tick,) if self.schedule else self.events

    @property
    def needed(self) -> str:
        """What operators see of what it needs: `Gateway` is gateway, `MailServer` is mail-server. Empty: nothing."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", self.needs.__name__).lower() if self.needs else ""

    @property
    def durable(self) -> str:
        """The name of its durable consumers. A renamed function gets a new one: `formerly` lets it go on."""
        return f"{self.service}-{self.name}"

    @property
    def express(self) -> str:
        """The name of the durables of its urgent types; empty: it has none."""
        return express_of(self.durable) if self.urgent else ""

    @property
    def identity(self) -> str:
        """What the ids of its outcomes are derived from: the durable of its first name."""
        return f"{self.service}-{self.first_name}"

    @property
    def first_name(self) -> str:
        """The oldest name of the function."""
        return (*self.formerly, self.name)[0]

    @property
    def meaning(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def entity(self) -> str:
        """The first token of the subjects on which it records."""
        of_a_story = [event for event in self.outcomes if not is_occurrence(event)] or self.outcomes
        read = [event for event in of_a_story if event.state and self.is_several] or of_a_story
        return entity_of(read[0]) if read else self.service

    @property
    def is_plain(self) -> bool:
        """Whether it records at most one event, guarded by the story of its key."""
        return not self.is_several and not any(map(is_occurrence, self.outcomes))

    def takes_from_outside(self, event: EventType) -> bool:
        """Whether deliveries of this event come from the intake, where others publish without a key."""
        return event.owner == self.service and event.from_outside and self.form.takes_outside


def express_of(durable: str) -> str:
    """The name of the express durable beside an ordinary one."""
    return f"{durable}-express"


@dataclass(frozen=True, slots=True)
class EndpointDeclaration:
    """One function of a service that answers requests: from a request to its response."""

    service: str
    name: str
    function: Callable[..., Awaitable[Any]]
    request: RequestType
    response: type[BaseModel]
    story: type | None = None
    arguments: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]
