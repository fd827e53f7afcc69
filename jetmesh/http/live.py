"""Stories as server-sent events: what was recorded about a key, then what is recorded, until the story ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, Header
from fastapi.security import APIKeyQuery
from fastapi.sse import ServerSentEvent
from starlette.exceptions import HTTPException

from jetmesh.failure import Unavailable
from jetmesh.http.events import comes
from jetmesh.http.limits import Limits
from jetmesh.http.openapi import Responses
from jetmesh.http.problems import busy
from jetmesh.jetstream.direct_get import Stored

READ_SECONDS = 0.2
"""How often a live story is read again: no consumer of the broker is needed for each reader."""

LIVE: Responses = {
    200: {"description": "Server-sent events: the story so far, then live, until the event `end`."},
    204: {"description": "The reader has seen the end."},
}
"""The answers of a route that sends a live story, for its `responses`."""
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        pattern="^([A-Z0-9_]{1,32}:[0-9]{1,18})?$",
        description="Where to go on: the id of the last event received, such as ORDERS:12.",
    ),
]
"""The header with which an EventSource comes back; its default is the empty text."""
QueryToken = Annotated[
    str | None,
    Depends(
        APIKeyQuery(name="access_token", auto_error=False, scheme_name="accessToken", description="For EventSource.")
    ),
]
"""Says in the documentation that a token may come in the query; the server has made a bearer token of it."""


class LiveStories:
    """The live stories of a service's stream (WHATWG HTML, section 9.2).

    `show` makes the data of each event. `end` makes those of the event `end` of a whole story; None: it goes on. There
    is room for `limits.live_max` readers at once, each for `limits.live_seconds_max` at most. All end when `leaving` is
    set; a reader's EventSource then comes back by itself, with its position.
    """

    def __init__(
        self,
        stream: str,
        show: Callable[[Stored], Any],
        end: Callable[[Sequence[Stored]], Any],
        *,
        limits: Limits,
        leaving: asyncio.Event | None = None,
    ) -> None:
        self._stream, self._show, self._end = stream, show, end
        self._seconds_max, self._leaving = limits.live_seconds_max, leaving or asyncio.Event()
        self._room = asyncio.Semaphore(limits.live_max)

    @asynccontextmanager
    async def reader(self, story: Sequence[Stored], last_event_id: str) -> AsyncIterator[int]:
        """Room for one more reader of a story: gives the position behind which it goes on.

        Raises:
            HTTPException: 204 for one who has seen the end, so that it stops coming back.
            Problem: 503 where there is no room.
        """
        position = self._position(story, last_event_id)
        if self._end([event for event in story if event.sequence <= position]) is not None:
            raise HTTPException(204)
        if self._room.locked():
            raise busy("Too many live stories are read here. Ask again.")
        async with self._room:
            yield position

    async def events(
        self, read: Callable[[], Awaitable[Sequence[Stored]]], position: int
    ) -> AsyncIterator[ServerSentEvent]:
        """What `read` finds behind the position, as it happens. Without an end the stream stops at its largest age, and
        where the mesh or this replica goes away."""
        stops_at = monotonic() + self._seconds_max
        with suppress(Unavailable):
            is_wanted = not self._leaving.is_set()
            while is_wanted:
                story = await read()
                for event in (event for event in story if event.sequence > position):
                    position = event.sequence
                    yield ServerSentEvent(data=self._show(event), id=f"{self._stream}:{position}")
                if (end := self._end(story)) is not None:
                    yield ServerSentEvent(event="end", data=end, id=f"{self._stream}:{position}")
                    return
                if monotonic() >= stops_at:
                    return
                is_wanted = await comes(self._leaving, READ_SECONDS)

    def _position(self, story: Iterable[Stored], last_event_id: str) -> int:
        """How far the reader has come who saw this event last; 0 where it is none of the story. A reader may send
        anything; an id of a stream that was made anew or restored since then says nothing about what it has seen."""
        stream, _, sequence = last_event_id.partition(":")
        is_here = stream == self._stream and any(event.sequence == int(sequence) for event in story)
        return int(sequence) if is_here else 0
