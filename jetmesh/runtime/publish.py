"""Publishes and records events that begin outside of a reaction: with an HTTP request, in a script, in another program.

The span that is current becomes the parent: what happens because of the event is part of the caller's trace, or linked
to it (`JETMESH_TRUST_TRACES`).
"""

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from hashlib import sha256

from opentelemetry import trace
from opentelemetry.trace import SpanContext

from jetmesh.cloudevents import JSON, event_lines, written_event
from jetmesh.event import INTAKE, Event, EventType, entity_of, id_of, is_occurrence, stream_of
from jetmesh.jetstream.delivery import derived_id
from jetmesh.jetstream.direct_get import DirectGet, Stored
from jetmesh.jetstream.group_commit import GroupCommit
from jetmesh.jetstream.headers import CloudEvents, Jetmesh
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.runtime.publish_result import AlreadyThere, NotTaken, PublishResult, Taken
from jetmesh.telemetry.spans import Publishing, trace_headers, trace_lines
from jetmesh.topology.names import DEAD_LETTERS, letters_about

ATTEMPTS = 3
LOOK_SECONDS = 0.05
EDGE = "/jetmesh/edge"
"""The `ce-source` of what a service publishes outside of its reactions."""


class Outside:
    """Publishes and records for one connection. `source` is the `ce-source` of what it publishes."""

    def __init__(
        self, publisher: Publisher, group_commit: GroupCommit, direct_get: DirectGet, publishing: Publishing,
        source: str = EDGE,
    ) -> None:  # fmt: skip
        self._publisher, self._group_commit, self._direct_get = publisher, group_commit, direct_get
        self._publishing, self._source = publishing, source

    async def publish(self, event: Event, wait_seconds: float = 0.0) -> PublishResult:
        """Publish an event without a key in the subject, for its owner to check and record; see `Context.publish`."""
        event_type, body = _published_type(event), written_event(event)
        event_id = derived_id("outside", event_type.type, event.key, sha256(body).hexdigest(), *_told_apart(event))
        if wait_seconds > 0 and (known := _caused(story := await self._story(event), event_id)):
            return AlreadyThere(known[0].headers.get(CloudEvents.CAUSATION_ID, event_id), tuple(story))
        span = self._publishing.span(_current(), event_type, event.key, event_id, event.key)
        headers = {
            CloudEvents.SPECVERSION: "1.0",
            CloudEvents.ID: event_id,
            CloudEvents.TYPE: event_type.type,
            CloudEvents.SOURCE: self._source,
            CloudEvents.DATACONTENTTYPE: JSON,
            **trace_headers(span.get_span_context()),
        }
        try:
            sequence = await self._publisher.record(Message(event_type.type, body, headers))
        finally:
            span.end()
        return await self._decision(event, event_id, sequence, wait_seconds)

    async def _decision(self, event: Event, event_id: str, sequence: int, wait_seconds: float) -> PublishResult:
        """What its owner decided about the message with this sequence of the intake, if it does so in time."""
        letters, until = letters_about(type(event).owner, INTAKE, sequence), time.monotonic() + wait_seconds
        while time.monotonic() < until:
            if recorded := _caused(await self._story(event), event_id):
                return Taken(event_id, recorded)
            if found := await self._direct_get.last(DEAD_LETTERS, [letters]):
                return NotTaken(event_id, found[0].headers.get(Jetmesh.REASON, ""))
            await asyncio.sleep(LOOK_SECONDS)
        return Taken(event_id)

    async def record_first(self, stream: str, event: Event) -> Taken | AlreadyThere:
        """Record the event that begins the story of its key; see `Context.record_first`."""
        event_type, body = type(event), written_event(event)
        event_id = derived_id("edge", event_type.type, event.key, *_told_apart(event))
        span = self._publishing.span(_current(), event_type, event.key, event_id, event.key)
        lines = event_lines(
            event_type, event.key, event_id=event_id, correlation_id=event.key, causation_id="",
            more=trace_lines(span.get_span_context()),
        )  # fmt: skip
        guarded = story_subject(entity_of(event_type), event.key)
        subject = subject_of(event_type, event.key)
        if is_occurrence(event_type):
            subject = guarded = subject_of(event_type, event.key, id_of(event) or event_id)
        guard = Guard(guarded, 0)
        message = Message(subject, body, lines, guard)
        try:
            story = await self._record(stream, message, guard, event_id)
        finally:
            span.end()
        if story:
            return AlreadyThere(event_id, tuple(story))
        self._publishing.recorded(event_type)
        return Taken(event_id)

    async def _record(self, stream: str, message: Message, guard: Guard, event_id: str) -> Sequence[Stored]:
        """The story that was there before; empty: the message is recorded."""
        for attempt in range(ATTEMPTS):
            try:
                await self._group_commit.record(message)
            except (Refused, Unknown):
                story = await self._direct_get.last(stream, [guard.subject])
                ours = attempt > 0 and any(s.headers.get(CloudEvents.ID) == event_id for s in story)
                if story:
                    return [] if ours else story
            else:
                return []
        raise Unknown("the broker did not say whether it recorded the event")

    async def _story(self, event: Event) -> Sequence[Stored]:
        """What the owner of an event recorded about its key."""
        event_type = type(event)
        subjects = [story_subject(entity_of(event_type), event.key)]
        if occurrence := id_of(event):
            subjects.append(subject_of(event_type, event.key, occurrence))
        return await self._direct_get.last(stream_of(event_type.owner), subjects)


def _told_apart(event: Event) -> Iterable[str]:
    """What tells an occurrence from the others about its key: its id, else every call means another one."""
    if is_occurrence(type(event)):
        yield id_of(event) or uuid.uuid4().hex


def _caused(story: Sequence[Stored], event_id: str) -> tuple[Stored, ...]:
    """The events that follow from the one with this id."""
    return tuple(s for s in story if s.headers.get(CloudEvents.CAUSATION_ID) == event_id)


def _published_type(event: Event) -> EventType:
    """The type of what somebody publishes from outside.

    Raises:
        TypeError: it is no event, or none that may come from outside.
    """
    if isinstance(event, type) or not isinstance(event, Event):
        raise TypeError(
            f"{event!r} is no event: publish an instance of an event's class, as the contracts of its owner have it"
        )
    event_type = type(event)
    if not event_type.from_outside:
        raise TypeError(
            f"{event_type.__name__}: only {event_type.owner} records {event_type.type}; publish an event that is "
            f"declared `from_outside=True`, or let {event_type.owner} declare this one so and take it in an intake"
        )
    return event_type


def _current() -> SpanContext:
    """The span that is current: an HTTP request's, for instance."""
    return trace.get_current_span().get_span_context()
