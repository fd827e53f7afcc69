"""Records events that begin outside of a reaction, with an HTTP request for instance."""

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.trace import SpanContext

from jetmesh.cloudevents import JSON, event_lines
from jetmesh.event import Event, entity_of
from jetmesh.jetstream.delivery import derived_id
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import CloudEvents
from jetmesh.jetstream.message import Guard, Message, Refused, Unknown
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.telemetry.spans import trace_headers, trace_lines

ATTEMPTS = 3


async def record_first(context: Context, service: Service, event: Event) -> Sequence[Stored]:
    """Record the event that begins the story of its key; the story that was there already, empty where it was not.

    The span that is current becomes the parent of the whole story's trace.

    Raises:
        Unavailable: the broker does not take it now, or it is unknown whether it did; asking again is safe.
    """
    event_type = type(event)
    event_id = derived_id("edge", event_type.type, event.key)
    span = context.telemetry.publishing.span(_current(), event_type, event.key, event_id, event.key)
    lines = event_lines(
        event_type, event.key, event_id=event_id, correlation_id=event.key, causation_id="",
        more=trace_lines(span.get_span_context()),
    )  # fmt: skip
    guard = Guard(story_subject(entity_of(event_type), event.key), 0)
    message = Message(subject_of(event_type, event.key), event.model_dump_json().encode(), lines, guard)
    try:
        story = await _record(context, service, message, event_id)
    finally:
        span.end()
    if not story:
        context.telemetry.publishing.recorded(event_type)
    return story


async def _record(context: Context, service: Service, message: Message, event_id: str) -> Sequence[Stored]:
    assert message.guard is not None
    for attempt in range(ATTEMPTS):
        try:
            await context.group_commit.record(message)
        except (Refused, Unknown):
            story = await context.direct_get.last(service.stream, [message.guard.subject])
            ours = attempt > 0 and any(s.headers.get(CloudEvents.ID) == event_id for s in story)
            if story:
                return [] if ours else story
        else:
            return []
    raise Unknown("the broker did not say whether it recorded the event")


async def publish(context: Context, event: Event) -> None:
    """Publish an event as anybody outside may: without a key in the subject, for its owner to check and record.

    Raises:
        Unavailable: the broker does not take it now; asking again is safe.
    """
    event_type = type(event)
    event_id = derived_id("outside", event_type.type, event.key)
    span = context.telemetry.publishing.span(_current(), event_type, event.key, event_id, event.key)
    headers = {
        CloudEvents.SPECVERSION: "1.0",
        CloudEvents.ID: event_id,
        CloudEvents.TYPE: event_type.type,
        CloudEvents.SOURCE: "/jetmesh/edge",
        CloudEvents.DATACONTENTTYPE: JSON,
        **trace_headers(span.get_span_context()),
    }
    try:
        await context.publisher.record(Message(event_type.type, event.model_dump_json().encode(), headers))
    finally:
        span.end()


def _current() -> SpanContext:
    """The span that is current: an HTTP request's, for instance."""
    return trace.get_current_span().get_span_context()
