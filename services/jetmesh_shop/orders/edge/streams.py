"""Server-sent events: an order's story so far, then live, until it ends (WHATWG HTML, section 9.2)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, suppress
from time import monotonic
from typing import TypeVar

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from jetmesh_shop.orders.edge.limits import Limits
from jetmesh_shop.orders.edge.port import StoryEvent, Unavailable
from jetmesh_shop.orders.edge.stories import ENDED, Cursor, Happened, status_of

T = TypeVar("T")


class LiveStory:
    """One order's story as a stream of server-sent events.

    It ends with the event `end` where the story does. It ends without one at its largest age, or where the mesh or
    this replica goes away: the reader's EventSource then comes back by itself, with its position.
    """

    def __init__(
        self, events: AsyncGenerator[StoryEvent, None], cursor: Cursor, limits: Limits, leaving: asyncio.Event
    ) -> None:
        self._events, self._cursor, self._limits, self._leaving = events, cursor, limits, leaving
        self._until = monotonic() + limits.stream_seconds_max

    async def messages(self, seen: set[str]) -> AsyncGenerator[bytes, None]:
        """The messages; `seen` are the types of the events before the cursor."""
        with suppress(Unavailable):
            async with aclosing(self._events), aclosing(self._beats()) as events:
                async for event in events:
                    if event is None and monotonic() > self._until:
                        return
                    for message in self._told(event, seen):
                        yield message
                    if status_of(seen) in ENDED:
                        return

    def _beats(self) -> AsyncGenerator[StoryEvent | None, None]:
        return beats(self._events, self._limits.heartbeat_seconds, self._leaving)

    def _told(self, event: StoryEvent | None, seen: set[str]) -> Iterator[bytes]:
        if event is None:
            yield KEEPALIVE_COMMENT
        elif self._cursor.is_new(event):
            yield self._message(event)
            seen.add(event.type)
            if status_of(seen) in ENDED:
                yield self._end(seen)

    def _message(self, event: StoryEvent) -> bytes:
        self._cursor.advance(event)
        return format_sse_event(data_str=Happened.of(event).model_dump_json(), id=str(self._cursor))

    def _end(self, seen: set[str]) -> bytes:
        return format_sse_event(event="end", data_str=f'{{"status":"{status_of(seen)}"}}', id=str(self._cursor))


async def beats(items: AsyncIterator[T], seconds: float, leaving: asyncio.Event) -> AsyncGenerator[T | None, None]:
    """The items as they come, until `leaving` is set, and None whenever none came for so long."""
    following = asyncio.ensure_future(anext(items, _END))
    left = asyncio.ensure_future(leaving.wait())
    try:
        while True:
            await asyncio.wait({following, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                return
            if not following.done():
                yield None
                continue
            item = following.result()
            if isinstance(item, _End):
                return
            following = asyncio.ensure_future(anext(items, _END))
            yield item
    finally:
        following.cancel()
        left.cancel()
        await asyncio.gather(following, left, return_exceptions=True)


class _End:
    """What stands for the end of an iterator."""


_END = _End()
