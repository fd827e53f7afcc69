"""Reads what a service recorded about a key: a page of what is there, or all of it and whatever comes."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from jetmesh.cloudevents import decode_own_form
from jetmesh.event import EventType, Recorded, stream_of
from jetmesh.history import UNKNOWN, History
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import ANSWERS_MAX, DirectGet, Stored
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents, Headers
from jetmesh.jetstream.ordered_consumer import follow
from jetmesh.jetstream.subject import subjects_of
from jetmesh.jetstream.transport import Transport
from jetmesh.telemetry.otlp import trace_id_of
from jetmesh.topology.partitions import Partitions, name_for


class RecordedPage(NamedTuple):
    """Events in the order of the stream, and how many follow."""

    events: tuple[Recorded, ...]
    left: int


class EventReader:
    """Reads over one connection."""

    def __init__(self, connection: Transport, direct_get: DirectGet, split: Partitions) -> None:
        self._connection, self._direct_get, self._split = connection, direct_get, split

    async def read(self, key: str, event_type: EventType, after: int, limit: int) -> RecordedPage:
        """See `Context.read`."""
        if not 1 <= limit <= ANSWERS_MAX:
            raise ValueError(f"limit={limit}: a page has 1 to {ANSWERS_MAX} events")
        stream = self._stream([event_type], key)
        found, left = await self._direct_get.page(stream, subjects_of(event_type, key), after + 1, limit)
        return RecordedPage(tuple(recorded(_delivery(stream, each)) for each in found), left)

    async def follow(self, types: Sequence[EventType], key: str, after: int) -> AsyncGenerator[Recorded, None]:
        """See `Context.follow`."""
        stream, subjects = self._stream(types, key), [subjects_of(each, key) for each in types]
        async with aclosing(follow(self._connection, stream, subjects, after)) as deliveries:
            async for delivery in deliveries:
                yield recorded(delivery)

    def _stream(self, types: Sequence[EventType], key: str) -> str:
        """The one stream that has these events.

        Raises:
            TypeError: there is none.
        """
        owners = dict.fromkeys(event_type.owner for event_type in types)
        if len(owners) != 1:
            raise TypeError(f"events of {' and '.join(owners) or 'nobody'}: name one or more types of one owner")
        return name_for(stream_of(*owners), key, self._split)


def _delivery(stream: str, stored: Stored) -> RawDelivery:
    timestamp = unix_nano(stored.time) / 1e9
    return RawDelivery(stored.subject, stored.headers, stored.data, "", stream, stored.sequence, 1, timestamp)


def recorded(delivery: RawDelivery, history: History = UNKNOWN) -> Recorded:
    """A delivery as it stands in the stream; headers that are missing or wrong leave their fields empty."""
    written = decode_own_form(delivery)
    headers: Headers = {} if written else delivery.headers
    traceparent = written.traceparent if written else headers.get(TRACEPARENT, "")
    return Recorded(
        stream=delivery.stream,
        sequence=delivery.sequence,
        type=delivery.type,
        key=delivery.key,
        time=datetime.fromtimestamp(delivery.timestamp, UTC),
        id=written.id if written else headers.get(CloudEvents.ID, ""),
        source=written.source if written else headers.get(CloudEvents.SOURCE, ""),
        trace_id=trace_id_of(traceparent) if traceparent else "",
        causation_id=written.causation_id if written else headers.get(CloudEvents.CAUSATION_ID, ""),
        data=delivery.data,
        history=history,
    )
