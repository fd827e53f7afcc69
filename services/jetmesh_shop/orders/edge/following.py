"""`/orders/{order_id}`: an order's story, as it is and as it happens, and its cancellation, for the token's bearer."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from functools import partial
from typing import Annotated

from fastapi import Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from jetmesh import Stored
from jetmesh.http import (
    BAD_HEADER,
    FORBIDDEN,
    LIVE,
    NOT_FOUND,
    UNAUTHORIZED,
    Bearer,
    LastEventId,
    QueryToken,
    Router,
    name_key,
    problem_responses,
)
from jetmesh_shop.orders.edge.placing import links_of
from jetmesh_shop.orders.edge.problems import TOO_LATE
from jetmesh_shop.orders.edge.state import TheEdge
from jetmesh_shop.orders.edge.stories import Happened, OrderStory, Status, status_in


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


async def reader(story: TheStory, edge: TheEdge, _: QueryToken, last_event_id: LastEventId = "") -> AsyncIterator[int]:
    """How far a reader has come, while there is room for it."""
    async with edge.live.reader(story, last_event_id) as position:
        yield position


_OF_ONE_ORDER = (UNAUTHORIZED, FORBIDDEN, NOT_FOUND)
router = Router(prefix="/orders/{order_id}", tags=["orders"])


@router.get(
    "", operation_id="showOrder", summary="Show an order and its story", responses=problem_responses(*_OF_ONE_ORDER)
)
async def show(order_id: str, story: TheStory) -> OrderStory:
    """How the order stands and what happened to it."""
    return OrderStory(order_id=order_id, status=status_in(story), story=[Happened.of(event) for event in story])


@router.get(
    "/events", operation_id="followOrder", summary="Follow an order as it happens", response_class=EventSourceResponse,
    responses={**LIVE, **problem_responses(BAD_HEADER, *_OF_ONE_ORDER)},
)  # fmt: skip
async def follow(
    order_id: str, position: Annotated[int, Depends(reader)], edge: TheEdge
) -> AsyncIterable[ServerSentEvent]:
    """What happens behind the position: each event, and at last the event `end`."""
    async for event in edge.live.events(partial(edge.orders.story, order_id), position):
        yield event


@router.delete(
    "", operation_id="cancelOrder", summary="Ask to cancel an order", status_code=202,
    responses=problem_responses(TOO_LATE, *_OF_ONE_ORDER),
)  # fmt: skip
async def cancel(order_id: str, story: TheStory, edge: TheEdge) -> CancellationAccepted:
    """The customer no longer wants the order: ask for its cancellation, as long as the money is not taken."""
    status = status_in(story)
    if status == "refused":
        raise TOO_LATE.problem("The order is refused: there is nothing left to cancel.")
    if status != "cancelled":
        await edge.orders.request_cancellation(order_id)
    return CancellationAccepted(order_id=order_id, status=status, links=links_of(order_id))
