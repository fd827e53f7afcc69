"""`/orders/{order_id}`: an order's story, as it is and as it happens, and its cancellation, for the token's bearer."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from urllib.parse import parse_qsl, urlencode

from fastapi.sse import EventSourceResponse
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jetmesh_shop.orders.edge.limits import Limits, Slots, answered_within
from jetmesh_shop.orders.edge.links import links_of
from jetmesh_shop.orders.edge.port import Orders, StoryEvent
from jetmesh_shop.orders.edge.problems import BAD_HEADER, NOT_FOUND, TOO_LATE, Problem
from jetmesh_shop.orders.edge.stories import ENDED, Cursor, Happened, OrderStory, Status, status_of
from jetmesh_shop.orders.edge.streams import LiveStory
from jetmesh_shop.orders.edge.tokens import Tokens
from jetmesh_shop.orders.edge.tracing import name_order

_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class CancellationAccepted(BaseModel):
    """The wish is recorded; the story tells what became of it."""

    order_id: str
    status: Status
    links: dict[str, str]


class Following:
    """The routes of one order."""

    def __init__(self, orders: Orders, tokens: Tokens, limits: Limits, leaving: asyncio.Event) -> None:
        self._orders, self._tokens, self._limits, self._leaving = orders, tokens, limits, leaving
        self._slots = Slots(limits.streams_max)

    async def show(self, request: Request) -> Response:
        """How the order stands and what happened to it."""
        order_id, story = await self._story(request)
        status = status_of(event.type for event in story)
        document = OrderStory(order_id=order_id, status=status, story=[Happened.of(event) for event in story])
        return _json(document, 200)

    async def follow(self, request: Request) -> Response:
        """The story as server-sent events; 204 for a reader who has seen its end, so that it stops coming back."""
        sent = _cursor(request)
        order_id, story = await self._story(request)
        cursor = sent.within(story)
        seen = {event.type for event in story if not cursor.is_new(event)}
        if status_of(seen) in ENDED:
            return Response(status_code=204)
        self._slots.require()
        live = LiveStory(self._orders.follow(order_id, cursor.positions.copy()), cursor, self._limits, self._leaving)
        return EventSourceResponse(self._counted(live.messages(seen)), headers=_STREAM_HEADERS)

    async def cancel(self, request: Request) -> Response:
        """The customer no longer wants the order: ask for its cancellation, as long as the money is not taken."""
        order_id, story = await self._story(request)
        status = status_of(event.type for event in story)
        if status in ("paid", "refused"):
            raise Problem(TOO_LATE, f"The order is {status}: there is nothing left to cancel.")
        if status != "cancelled":
            async with answered_within(self._limits.answer_timeout_seconds):
                await self._orders.request_cancellation(order_id)
        return _json(CancellationAccepted(order_id=order_id, status=status, links=links_of(order_id)), 202)

    async def _story(self, request: Request) -> tuple[str, Sequence[StoryEvent]]:
        """The order that the path names and the bearer may see."""
        order_id: str = request.path_params["order_id"]
        name_order(order_id)
        self._tokens.authorize(request.headers, order_id)
        async with answered_within(self._limits.answer_timeout_seconds):
            story = await self._orders.story(order_id)
        if not story:
            raise Problem(NOT_FOUND, "There is no order of this id (yet).")
        return order_id, story

    async def _counted(self, messages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        with self._slots:
            async with aclosing(messages):
                async for message in messages:
                    yield message


def _json(document: BaseModel, status: int) -> Response:
    return Response(document.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json")


def _cursor(request: Request) -> Cursor:
    try:
        return Cursor.parse(request.headers.get("last-event-id", ""))
    except ValueError:
        raise Problem(BAD_HEADER, "Send the id of the last event as Last-Event-ID, as it was received.") from None


class QueryToken:
    """Middleware: an `access_token` in the query becomes a bearer token, since an EventSource can't set headers.

    The server's own scope is changed, on purpose, and before anybody else sees it: no log or span shows the token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Move the token out of the query."""
        if b"access_token" in scope.get("query_string", b""):
            _move_token(scope)
        await self.app(scope, receive, send)


def _move_token(scope: Scope) -> None:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in query if name == "access_token"]
    scope["query_string"] = urlencode([item for item in query if item[0] != "access_token"]).encode()
    bearing = any(name == b"authorization" for name, _ in scope["headers"])
    if tokens and not bearing and scope["path"].endswith("/events"):
        scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {tokens[0]}".encode())]
