"""Reads what a service recorded about a key: a page of what is there, or all of it and whatever comes."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from enum import Enum, auto
from typing import NamedTuple

from jetmesh.cloudevents import decode_own_form
from jetmesh.event import EventType, Recorded, is_milestone, is_occurrence, stream_of
from jetmesh.failure import Denied, Unavailable
from jetmesh.history import UNKNOWN, History
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import ANSWERS_MAX, DirectGet, Stored
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents, Headers
from jetmesh.jetstream.ordered_consumer import follow
from jetmesh.jetstream.polling import poll
from jetmesh.jetstream.subject import subjects_of
from jetmesh.jetstream.transport import Transport
from jetmesh.settings import Settings, variable
from jetmesh.telemetry.otlp import trace_id_of
from jetmesh.topology.accounts import API_PREFIX
from jetmesh.topology.partitions import Partitions, name_for

API_SETTING = variable(Settings, "nats_api_prefix")


class RecordedPage(NamedTuple):
    """Events in the order of the stream, and how many follow."""

    events: tuple[Recorded, ...]
    left: int


class Reach(Enum):
    """What the account of this user lets it read, and how."""

    ALL = auto()
    """Everything: it may make consumers (an operator, or any user of a broker without accounts)."""
    STREAMS = auto()
    """A service's own streams, page by page."""
    NEWEST = auto()
    """The newest event about a key, of the types that were declared for it (`follows`)."""


class EventReader:
    """Reads over one connection, in the way that its user may."""

    def __init__(
        self, connection: Transport, direct_get: DirectGet, split: Partitions, reach: Reach = Reach.ALL
    ) -> None:
        self._connection, self._direct_get, self._split, self._reach = connection, direct_get, split, reach

    async def read(self, key: str, event_type: EventType, after: int, limit: int) -> RecordedPage:
        """See `Context.read`.

        Raises:
            PermissionError: this user may not read it.
        """
        if not 1 <= limit <= ANSWERS_MAX:
            raise ValueError(f"limit={limit}: a page has 1 to {ANSWERS_MAX} events")
        stream, subject = self._stream([event_type], key), subjects_of(event_type, key)
        self._require(key, event_type)
        try:
            if self._reach is Reach.NEWEST:
                newest = await self._direct_get.newest(stream, subject, named=True)
                found, left = [newest] if newest and newest.sequence > after else [], 0
            else:
                found, left = await self._direct_get.page(stream, subject, after + 1, limit)
        except Denied as denied:
            raise self._not_declared(str(denied), stream, event_type) from None
        return RecordedPage(tuple(recorded(_delivery(stream, each)) for each in found), left)

    async def follow(self, types: Sequence[EventType], key: str, after: int) -> AsyncGenerator[Recorded, None]:
        """See `Context.follow`.

        Raises:
            PermissionError: this user may not read one of them.
        """
        stream, subjects = self._stream(types, key), {subjects_of(each, key): is_milestone(each) for each in types}
        self._require(key, *types)
        try:
            if self._reach is Reach.ALL:
                await self._check_allowed(stream, next(iter(subjects)))
                async with aclosing(follow(self._connection, stream, list(subjects), after)) as deliveries:
                    async for delivery in deliveries:
                        yield recorded(delivery)
                return
            pages = self._reach is Reach.STREAMS
            async with aclosing(
                poll(self._connection, self._direct_get, stream, subjects, after, pages=pages)
            ) as found:
                async for stored in found:
                    yield recorded(_delivery(stream, stored))
        except Denied as denied:
            raise self._not_declared(str(denied), stream, *types) from None

    async def _check_allowed(self, stream: str, subject: str) -> None:
        """Ask for one message: who may not make consumers hears it at once; nobody says so of a consumer."""
        try:
            await self._direct_get.newest(stream, subject)
        except Denied:
            raise
        except Unavailable:
            return

    def _require(self, key: str, *types: EventType) -> None:
        """Check that this user's way to read has all that is asked for.

        Raises:
            PermissionError: it has the newest event of one key alone.
        """
        if self._reach is not Reach.NEWEST:
            return
        for each in filter(is_occurrence, types):
            raise PermissionError(
                f"{each.type} happens many times about a key, and this user reads the newest of a type: pull a durable "
                f"(`durables` of consumers/<team>.yaml beside the contracts of {each.owner})"
            )
        if "*" in key:
            raise PermissionError(f"key {key!r}: this user reads the newest event about one key: name it")

    def _not_declared(self, denied: str, stream: str, *types: EventType) -> PermissionError:
        """The error for what the broker denied."""
        named = next((each for each in types if f".{each.type}." in denied), types[0])
        if self._reach is Reach.ALL:
            return PermissionError(
                f"this user may not read the stream {stream} ({named.type}): one with an account of its own sets "
                f"{API_SETTING}={API_PREFIX}, and reads what was declared for it"
            )
        return PermissionError(
            f"this user may not read {named.type} of the stream {stream}: name it under `follows` of "
            f"consumers/<team>.yaml beside the contracts of {named.owner}, and let that team run `jetmesh topology "
            "permissions`"
        )

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
