"""What a reaction decided, as a message: its ids, its guard, its cause and its place in the trace."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from opentelemetry.trace import Span, SpanContext

from jetmesh.cloudevents import Envelope, event_lines, writer_of
from jetmesh.event import Event
from jetmesh.failure import Disowned, Permanent
from jetmesh.jetstream.delivery import derived_id
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, CloudEvents
from jetmesh.jetstream.message import Guard, Message, Unknown
from jetmesh.jetstream.publisher import BATCH_MAX
from jetmesh.jetstream.subject import subject_of
from jetmesh.runtime.binding import Binding
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.telemetry.spans import Attempt, trace_lines


class StoryStart(NamedTuple):
    """Where the story of a key began: its trace, if it was traced, and the time."""

    trace: SpanContext | None
    began: str


class Recording:
    """Makes the messages of one reaction."""

    def __init__(self, binding: Binding) -> None:
        self._reaction, self._in_flight = binding.reaction, binding.context.in_flight
        self._identity, self._publishing = binding.reaction.identity, binding.telemetry.publishing
        self._writers = {event: writer_of(event) for event in binding.reaction.outcomes}

    def declared(self, decided: Any) -> Event:
        """What the reaction returned, if its signature declares it.

        Raises:
            Permanent: it does not.
        """
        reaction = self._reaction
        if type(decided) in reaction.outcomes:
            event: Event = decided
            return event
        declared = ", ".join(event.__name__ for event in reaction.outcomes) or "nothing"
        raise Permanent(
            f"{reaction.service}.{reaction.name} returned {type(decided).__name__}, but declares {declared}; "
            f"it was not recorded"
        )

    def all_declared(self, decided: Any) -> tuple[Event, ...]:
        """What a reaction that may record several events returned: one, several or none.

        Raises:
            Permanent: its signature does not declare one of them; or they are more than one commit holds.
        """
        if decided is None:
            return ()
        several = decided if isinstance(decided, (tuple, list)) else (decided,)
        events = tuple(self.declared(event) for event in several if event is not None)
        if len(events) > BATCH_MAX:
            raise Permanent(
                f"{self._reaction.durable} decided {len(events)} events, and one commit holds {BATCH_MAX}: return "
                f"fewer, or let each of several events lead to a part of them"
            )
        return events

    def event_id(self, cause: Envelope, index: int | str = 0) -> str:
        """The id of what comes of a cause: the same at every attempt, whatever it is. `index` tells those of one commit
        from one another."""
        if cause.delivery.key:
            return derived_id(cause.id, self._identity, str(index))
        # Two publishers outside may use one id, and each means another event.
        return derived_id(cause.id, cause.type, quote(cause.key, ""), self._identity, str(index))

    def message(  # noqa: PLR0913  # what a message says, in its order
        self,
        event: Event,
        key: str,
        attempt: Attempt,
        guard: Guard,
        index: int | str = 0,
        subject: str = "",
        other: StoryStart | None = None,
    ) -> tuple[Message, Span]:
        """An event about `key` as it will be recorded, caused by the delivery of an attempt; and the span of recording
        it, to be ended when it is. `subject` is that of an occurrence. `other`: the event goes on with a story that is
        not the one of its cause, and belongs to that one's trace.

        Raises:
            Unknown: not before it is known whether the cause is still to be handled.
            Disowned: it is not.
            BrokenContract: the event is not what its contract says.
        """
        if not self._in_flight.is_sure:
            raise Unknown("the broker was away: deliveries in flight may have been undone")
        cause = attempt.envelope
        if cause.delivery.reply in self._in_flight.orphans:
            raise Disowned
        event_type = type(event)
        body = self._writers[event_type](event)
        event_id = self.event_id(cause, index)
        correlation, began = cause.correlation_id or key, cause.began
        if other is None:
            span = self._publishing.span(attempt.context, event_type, key, event_id, correlation)
        else:
            correlation, began = key, other.began
            parent, links = other.trace or attempt.context, (attempt.context,) if other.trace else ()
            span = self._publishing.span(parent, event_type, key, event_id, correlation, links)
        lines = event_lines(
            event_type, key, event_id=event_id, correlation_id=correlation, causation_id=cause.id,
            more=f"{trace_lines(span.get_span_context())}{CloudEvents.BEGAN}: {began}\r\n",
        )  # fmt: skip
        return Message(subject or subject_of(event_type, key), body, lines, guard), span


def start_of(story: Sequence[Stored]) -> StoryStart | None:
    """Where a story began, as each of its events says; None: it has none."""
    if not story:
        return None
    headers = story[0].headers
    trace = parse_traceparent(headers.get(TRACEPARENT, ""), headers.get(TRACESTATE, ""))
    return StoryStart(trace, headers.get(CloudEvents.BEGAN, story[0].time))


def join_story(attempt: Attempt, stored: Iterable[Stored]) -> None:
    """What came from outside about a key that has a story goes on in the trace that the story began in."""
    for message in stored:
        if began := parse_traceparent(message.headers.get(TRACEPARENT, ""), message.headers.get(TRACESTATE, "")):
            attempt.join(began)
            return
