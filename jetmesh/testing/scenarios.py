"""Scenario tests without a broker: given recorded events, when a reaction runs, then these events follow.

The runtime's own code runs, on a stream in memory. Every delivery comes three times: once, again, and once more with a
replica that lags behind the first recording. Only the first may record anything.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from jetmesh.cloudevents import cloud_event
from jetmesh.event import INTAKE, Event, id_of, is_occurrence, stream_of
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.delivery import RawDelivery, derived_id
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import subject_of
from jetmesh.outcome import Outcome
from jetmesh.reaction import Reaction
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.context import context_on
from jetmesh.runtime.workers import worker_of
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.telemetry.spans import Attempt, ReactionTelemetry, Telemetry
from jetmesh.testing.memory import Memory
from jetmesh.topology.streams import Topology, topology

ReactionFunction = Callable[..., Any]

RECORDED_AT = 1_700_000_000.0
"""The time of the arriving messages, in seconds since 1970: the same for each delivery."""


@dataclass(frozen=True, slots=True)
class Given:
    """The events that the service recorded before, oldest first."""

    events: tuple[Event, ...]

    def when(
        self,
        function: ReactionFunction,
        arrived: Event | Sequence[Event],
        dependencies: Any = None,
        *,
        of: Service | None = None,
    ) -> "When":
        """`arrived` is delivered to the reaction `function`; many events at once if it is a reaction to many.

        `of` is its service; needed only if that is not a global of the function's module.
        """
        service, reaction = reaction_of(function, of)
        events = (arrived,) if isinstance(arrived, Event) else tuple(arrived)
        _check(service, reaction, self.events, events)
        return When(self.events, service, reaction, events, dependencies)


@dataclass(slots=True)
class When:
    """A reaction to run; it runs when `then` or `then_raises` is awaited."""

    given: tuple[Event, ...]
    service: Service
    reaction: Reaction
    arrived: tuple[Event, ...]
    dependencies: Any

    async def then(self, *expected: Event) -> None:
        """Exactly these events are recorded, in this order, and none of them twice; without arguments: no event.

        Raises:
            AssertionError: with the expected and the recorded events.
        """
        recorded, errors = await self._run()
        if errors:
            raise AssertionError(f"{self}\nthen {_listed(expected)}, but it raised {errors[0]!r}") from errors[0]
        assert recorded == list(expected), f"{self}\nthen {_listed(expected)}, but it recorded {_listed(recorded)}"

    async def then_raises(self, error: type[Exception], match: str = "") -> None:
        """The reaction raises `error` (NotYet, Permanent, …) with `match` in its text, and records nothing."""
        recorded, errors = await self._run()
        found = [raised for raised in errors if isinstance(raised, error) and re.search(match, str(raised))]
        what = f"{error.__name__}({match!r})"
        assert found, f"{self}\nthen it raises {what}, but {errors or f'it recorded {_listed(recorded)}'}"
        assert not recorded, f"{self}\nthen nothing is recorded, but {_listed(recorded)}"

    def __str__(self) -> str:
        return (
            f"given {_listed(self.given)}\nwhen {self.service.name}.{self.reaction.name} reacts to "
            f"{_listed(self.arrived)}"
        )

    async def _run(self) -> tuple[list[Event], list[Exception]]:
        """Deliver three times; returns what the first delivery recorded and raised."""
        memory = Memory(Topology(topology([self.service]).streams, ()))
        memory.keep(self.service.stream, [self._message(event) for event in self.given])
        errors = await self._deliver(memory, 1)
        recorded = self._recorded(memory, len(self.given))
        if not errors:
            before = len(self.given) + len(recorded)
            await self._expect_nothing_new(memory, before, "again")
            memory.lag(self.service.stream, len(self.given))
            await self._expect_nothing_new(memory, before, "again, with a replica that lags,")
        return recorded, errors

    async def _expect_nothing_new(self, memory: Memory, before: int, how: str) -> None:
        """Check that a redelivery records nothing: the recorded events settle it, or the guard refuses its event."""
        errors = await self._deliver(memory, 2)
        doubled = self._recorded(memory, before)
        assert not doubled, f"{self}\nit ran {how} and recorded more: {_listed(doubled)}; expect everything twice"
        assert not errors, f"{self}\nit ran {how} and raised {errors[0]!r}; expect everything twice"

    async def _deliver(self, memory: Memory, delivered: int) -> list[Exception]:
        """Pass the events to the runtime's own worker of the reaction; returns the errors that it raised."""
        watch = _Watch(self.service.name)
        connection = await memory.connect()
        if self.reaction.at:
            _let_it_be(connection.clock, [getattr(event, self.reaction.at) for event in self.arrived])
        async with context_on(connection, Settings(), watch) as context:
            around = (*self.service.middlewares, *self.reaction.middlewares)
            decoded = replace(self.reaction, listens=None)  # what arrives is given as the event that is decoded
            worker = worker_of(Binding(context, self.service, decoded, self.dependencies, middlewares=around))
            for index, event in enumerate(self.arrived):
                worker.accept(_delivery(self.reaction, event, index, delivered))
            await worker.drained()
        return watch.errors

    def _message(self, event: Event) -> Message:
        """An event that is given. One that the reaction itself may record was recorded for what arrives now."""
        is_own = type(event) in self.reaction.outcomes and not self.reaction.form.only_outside
        cause = _id_of(self.arrived[0]) if is_own else ""
        return Message(_subject(event), event.model_dump_json().encode(), _headers(event, cause))

    def _recorded(self, memory: Memory, after: int) -> list[Event]:
        types = {event.type: event for event in self.service.records}
        return [types[kept.type].read(kept.data) for kept in memory.messages(self.service.stream, after)]


def _let_it_be(clock: BrokerClock, times: Sequence[datetime | None]) -> None:
    """Let the broker's time be a moment after these."""
    now = time.monotonic()
    clock.learn(
        datetime.fromtimestamp(max([at.timestamp() for at in times if at] or [0]) + 1, UTC).isoformat(), now, now
    )


def given(*events: Event) -> Given:
    """The events that the service has recorded before: the story and the levels that its reaction reads."""
    return Given(events)


def reaction_of(function: ReactionFunction, of: Service | None = None) -> tuple[Service, Reaction]:
    """The service that declared `function` as its reaction.

    Raises:
        LookupError: none among the globals of the function's module.
    """
    names = getattr(function, "__globals__", {})
    for service in [of] if of else [value for value in names.values() if isinstance(value, Service)]:
        for reaction in service.reactions:
            if reaction.function is function:
                return service, reaction
    raise LookupError(f"{function!r} is no reaction of a service in its module; name the service with `of=`")


def _check(service: Service, reaction: Reaction, before: Sequence[Event], arrived: Sequence[Event]) -> None:
    """Refuse a scenario that can't happen."""
    name = f"{service.name}.{reaction.name}"
    if foreign := [event for event in before if event.owner != service.name]:
        raise ValueError(
            f"given {foreign[0]!r}: {foreign[0].owner} records it; {name} reads the story of {service.name}"
        )
    if reaction.form.keeps_all:
        raise ValueError(f"{name} is a sink and records nothing: await it, and look into its store")
    if unknown := [event for event in arrived if type(event) not in reaction.arrives]:
        raise ValueError(f"when {unknown[0]!r} arrives: {name} does not react to it")
    if len(arrived) != 1 and not reaction.form.is_joint:
        raise ValueError(f"{name} reacts to one event at a time, not to {len(arrived)}")


class _Watch(Telemetry):
    """Collects how each attempt ended."""

    def __init__(self, service: str) -> None:
        super().__init__(service, NoOpTracerProvider(), NoOpMeterProvider().get_meter("jetmesh"), lambda: None)
        self.errors: list[Exception] = []

    def reaction(self, reaction: Reaction, *_: Any, **__: Any) -> ReactionTelemetry:
        return _WatchedReaction(self, reaction, self.errors)


class _WatchedReaction(ReactionTelemetry):
    def __init__(self, telemetry: Telemetry, reaction: Reaction, errors: list[Exception]) -> None:
        super().__init__(telemetry, reaction)
        self._errors = errors

    def processed(self, attempt: Attempt, outcome: Outcome, seconds: float) -> None:
        if outcome.error:
            self._errors.append(outcome.error)


def _delivery(reaction: Reaction, event: Event, index: int, delivered: int) -> RawDelivery:
    """The event as its owner recorded it, or as a client publishes it if the reaction takes it from outside."""
    event_type = type(event)
    outside = reaction.takes_from_outside(event_type)
    subject = event_type.type if outside else _subject(event)
    return RawDelivery(
        subject=subject,
        headers={} if outside else _headers(event),
        data=event.model_dump_json().encode(),
        reply=f"delivery.{index}",
        stream=INTAKE if outside else stream_of(event_type.owner),
        sequence=index + 1,
        delivered=min(delivered, reaction.retry.attempts or delivered),
        timestamp=RECORDED_AT,
    )


def _headers(event: Event, cause: str = "") -> dict[str, str]:
    return cloud_event(
        type(event), event.key, event_id=_id_of(event), correlation_id=event.key, causation_id=cause, trace={}
    )


def _subject(event: Event) -> str:
    occurrence = (id_of(event) or _id_of(event)) if is_occurrence(type(event)) else ""
    return subject_of(type(event), event.key, occurrence)


def _id_of(event: Event) -> str:
    return derived_id("story", type(event).type, event.key, *filter(None, [id_of(event)]))


def _listed(events: Sequence[Event]) -> str:
    return "\n    ".join(["", *map(repr, events)]) if events else "nothing"
