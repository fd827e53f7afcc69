"""`/orders/{order_id}`: an order's story, as it is and as it happens, and its cancellation, for the token's bearer."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Annotated

from fastapi import Header
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from jetmesh import Unavailable
from jetmesh_shop.orders.edge.limits import Limits, Slots, answered_within
from jetmesh_shop.orders.edge.outside import name_order
from jetmesh_shop.orders.edge.placing import links_of
from jetmesh_shop.orders.edge.port import Orders, StoryEvent
from jetmesh_shop.orders.edge.problems import NOT_FOUND, TOO_LATE, Problem
from jetmesh_shop.orders.edge.stories import (
    ENDED,
    POSITION_PATTERN,
    STREAM,
    Happened,
    OrderStory,
    Status,
    position_in,
    status_of,
)
from jetmesh_shop.orders.edge.tokens import Tokens

FOLLOW_SECONDS = 0.2
"""How often a live story is read again: no consumer of the broker is needed for each customer."""

LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        pattern=POSITION_PATTERN,
        description="Where to go on: the id of the last event received.",
    ),
]


class CancellationAccepted(BaseModel):
    """The request is recorded; the story shows the result."""

    order_id: str
    status: Status
    links: dict[str, str]


class Following:
    """The routes of one order. Live stories end when `leaving` is set, so that their readers go elsewhere."""

    def __init__(self, orders: Orders, tokens: Tokens, limits: Limits, leaving: asyncio.Event) -> None:
        self._orders, self._tokens, self._limits, self._leaving = orders, tokens, limits, leaving
        self._slots = Slots(limits.streams_max)

    async def show(self, request: Request, response: Response, order_id: str) -> OrderStory:
        """How the order stands and what happened to it."""
        story = await self._story(request, order_id)
        response.headers["Cache-Control"] = "no-store"
        return OrderStory(order_id=order_id, status=_status(story), story=[Happened.of(event) for event in story])

    async def follow(self, request: Request, order_id: str, last_event_id: LastEventId = "") -> Response:
        """The story as server-sent events; 204 for a reader who has seen its end, so that it stops coming back."""
        story = await self._story(request, order_id)
        position = position_in(story, last_event_id)
        if _status([event for event in story if event.sequence <= position]) in ENDED:
            return Response(status_code=204)
        self._slots.require()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return EventSourceResponse(self._messages(order_id, position), headers=headers)

    async def cancel(self, request: Request, response: Response, order_id: str) -> CancellationAccepted:
        """The customer no longer wants the order: ask for its cancellation, as long as the money is not taken."""
        status = _status(await self._story(request, order_id))
        if status == "refused":
            raise Problem(TOO_LATE, "The order is refused: there is nothing left to cancel.")
        if status != "cancelled":
            async with answered_within(self._limits.answer_timeout_seconds):
                await self._orders.request_cancellation(order_id)
        response.headers["Cache-Control"] = "no-store"
        return CancellationAccepted(order_id=order_id, status=status, links=links_of(order_id))

    async def _story(self, request: Request, order_id: str) -> Sequence[StoryEvent]:
        """The story of an order that the bearer may see."""
        name_order(order_id)
        self._tokens.authorize(request.headers, order_id)
        async with answered_within(self._limits.answer_timeout_seconds):
            story = await self._orders.story(order_id)
        if not story:
            raise Problem(NOT_FOUND, "There is no order of this id (yet).")
        return story

    async def _messages(self, order_id: str, position: int) -> AsyncGenerator[bytes, None]:
        """What happens behind the position (WHATWG HTML, section 9.2).

        The event `end` comes where the story ends. Without one the stream ends at its largest age, and where the mesh
        or this replica goes away: the reader's EventSource then comes back by itself, with its position.
        """
        limits, began = self._limits, monotonic()
        told_at = began
        with self._slots, suppress(Unavailable):
            while not self._leaving.is_set():
                story = await self._orders.story(order_id)
                for event in (event for event in story if event.sequence > position):
                    position, told_at = event.sequence, monotonic()
                    yield format_sse_event(data_str=Happened.of(event).model_dump_json(), id=f"{STREAM}:{position}")
                if (status := _status(story)) in ENDED:
                    yield format_sse_event(event="end", data_str=f'{{"status":"{status}"}}', id=f"{STREAM}:{position}")
                    return
                if monotonic() - began >= limits.stream_seconds_max:
                    return
                if monotonic() - told_at >= limits.heartbeat_seconds:
                    told_at = monotonic()
                    yield KEEPALIVE_COMMENT
                await _passes(self._leaving, min(FOLLOW_SECONDS, limits.heartbeat_seconds))


def _status(story: Sequence[StoryEvent]) -> Status:
    return status_of(event.type for event in story)


async def _passes(leaving: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(leaving.wait(), seconds)
