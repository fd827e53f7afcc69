"""A middleware: a plain async function around every attempt at a delivery, for an app, a service or one reaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from jetmesh.event import Event
from jetmesh.outcome import Outcome


class Delivery(Protocol):
    """One attempt at one delivery, as a middleware sees it, and a reaction that has a parameter of this type. What
    breaks its contract never gets here."""

    event: Event
    """What has happened, as the contract reads it."""

    @property
    def service(self) -> str:
        """The name of the service whose reaction it is for."""
        ...

    @property
    def reaction(self) -> str:
        """The name of that reaction."""
        ...

    @property
    def key(self) -> str:
        """The entity that the event is about."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the message."""
        ...

    @property
    def delivered(self) -> int:
        """How often it has been delivered: 1 the first time."""
        ...

    @property
    def id(self) -> str:
        """The id of what arrived (`ce-id`): the same however often it is delivered."""
        ...

    @property
    def time(self) -> datetime:
        """When that happened (`ce-time`), as whoever published it says; else when the broker stored it."""
        ...

    @property
    def traceparent(self) -> str:
        """The W3C trace context of this attempt, for what it calls outside; empty where nothing is traced."""
        ...

    @property
    def stream(self) -> str:
        """The stream that it stands in."""
        ...

    @property
    def sequence(self) -> int:
        """Its sequence in that stream."""
        ...


class CallNext(Protocol):
    """The next middleware of the list or, at its end, the reaction and its recording."""

    async def __call__(self, delivery: Delivery, /) -> Outcome:
        """Go on with the delivery, and return how it ended."""
        ...


class Middleware(Protocol):
    """`async def tenant(delivery, call_next)`: returns what `call_next` returned, and may raise what a reaction may."""

    async def __call__(self, delivery: Delivery, call_next: CallNext, /) -> Outcome:
        """Do something around one attempt."""
        ...
