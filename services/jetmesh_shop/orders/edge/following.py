"""`/orders/{order_id}`: an order's story, as it is and as it happens, and its cancellation, for the token's bearer."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, Header
from fastapi.security import APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from jetmesh import Stored, Unavailable
from jetmesh.http import BAD_HEADER, FORBIDDEN, NOT_FOUND, UNAUTHORIZED, Router, busy, name_key, problem_responses
from jetmesh_shop.orders.edge.placing import links_of
from jetmesh_shop.orders.edge.problems import TOO_LATE
from jetmesh_shop.orders.edge.state import TheEdge
from jetmesh_shop.orders.edge.stories import ENDED, STREAM, Happened, OrderStory, Status, position_in, status_of

FOLLOW_SECONDS = 0.2
"""How often a live story is read again: no consumer of the broker is needed for each customer."""

LIVE: dict[int | str, Any] = {
    200: {"description": "Server-sent events: the story so far, then live, until the event `end`."},
    204: {"description": "The reader has seen the end."},
}
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        pattern="^([A-Z0-9_]{1,32}:[0-9]{1,18})?$",
        description="Where to go on: the id of the last event received, such as ORDERS:12.",
    ),
]
Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, scheme_name="bearer", description="The token of the order's creation.")),
]
QueryToken = Annotated[
    str | None,
    Depends(
        APIKeyQuery(name="access_token", auto_error=False, scheme_name="accessToken", description="For EventSource.")
    ),
]
"""The server has made a bearer token of it (`jetmesh.http.FromOutside`)."""


class CancellationAccepted(BaseModel):
    """The request is recorded; the story shows the result."""

    order_id: str
    status: Status
    links: dict[str, str]


async def story_of(order_id: str, bearer: Bearer, edge: TheEdge) -> Sequence[Stored]:
    """The story of an order that the bearer may see."""
    name_key(order_id)
    edge.tokens.authorize(bearer, order_id)
    story = await edge.orders.story(order_id)
    if not story:
        raise NOT_FOUND.problem("There is no order of this id (yet).")
    return story


TheStory = Annotated[Sequence[Stored], Depends(story_of)]


async def position_of(story: TheStory, _: QueryToken, last_event_id: LastEventId = "") -> int:
    """How far a reader has come; 204 for one who has seen the end, so that it stops coming back."""
    position = position_in(story, last_event_id)
    if _status([event for event in story if event.sequence <= position]) in ENDED:
        raise HTTPException(204)
    return position


async def stream_slot(_position: Annotated[int, Depends(position_of)], edge: TheEdge) -> AsyncIterator[None]:
    """Room for one more live story, until it ends."""
    if edge.streams.locked():
        raise busy("Too many live stories are read here. Ask again.")
    async with edge.streams:
        yield


_OF_ONE_ORDER = (UNAUTHORIZED, FORBIDDEN, NOT_FOUND)
router = Router(prefix="/orders/{order_id}", tags=["orders"])


@router.get(
    "", operation_id="showOrder", summary="Show an order and its story", responses=problem_responses(*_OF_ONE_ORDER)
)
async def show(order_id: str, story: TheStory) -> OrderStory:
    """How the order stands and what happened to it."""
    return OrderStory(order_id=order_id, status=_status(story), story=[Happened.of(event) for event in story])


@router.get(
    "/events", operation_id="followOrder", summary="Follow an order as it happens",
    response_class=EventSourceResponse, dependencies=[Depends(stream_slot)],
    responses={**LIVE, **problem_responses(BAD_HEADER, *_OF_ONE_ORDER)},
)  # fmt: skip
async def follow(
    order_id: str, position: Annotated[int, Depends(position_of)], edge: TheEdge
) -> AsyncIterable[ServerSentEvent]:
    """What happens behind the position (WHATWG HTML, section 9.2).

    The event `end` comes where the story ends. Without one the stream ends at its largest age, and where the mesh or
    this replica goes away: the reader's EventSource then comes back by itself, with its position.
    """
    ends_at = monotonic() + edge.limits.stream_seconds_max
    with suppress(Unavailable):
        while not edge.leaving.is_set():
            story = await edge.orders.story(order_id)
            for event in (event for event in story if event.sequence > position):
                position = event.sequence
                yield ServerSentEvent(data=Happened.of(event), id=f"{STREAM}:{position}")
            if (status := _status(story)) in ENDED:
                yield ServerSentEvent(event="end", data={"status": status}, id=f"{STREAM}:{position}")
                return
            if monotonic() >= ends_at:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(edge.leaving.wait(), FOLLOW_SECONDS)


@router.delete(
    "", operation_id="cancelOrder", summary="Ask to cancel an order", status_code=202,
    responses=problem_responses(TOO_LATE, *_OF_ONE_ORDER),
)  # fmt: skip
async def cancel(order_id: str, story: TheStory, edge: TheEdge) -> CancellationAccepted:
    """The customer no longer wants the order: ask for its cancellation, as long as the money is not taken."""
    status = _status(story)
    if status == "refused":
        raise TOO_LATE.problem("The order is refused: there is nothing left to cancel.")
    if status != "cancelled":
        await edge.orders.request_cancellation(order_id)
    return CancellationAccepted(order_id=order_id, status=status, links=links_of(order_id))


def _status(story: Sequence[Stored]) -> Status:
    return status_of(event.type for event in story)
