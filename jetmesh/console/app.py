"""The console as an application: its routes, who may use them, and what an error looks like."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jetmesh.console import (
    added_view,
    contracts_view,
    flow_view,
    health_view,
    letter_actions,
    letters_view,
    log_view,
    login_view,
    reaction_view,
    story_view,
    streams_view,
)
from jetmesh.console.access import Access, NotAllowed
from jetmesh.console.added import Added
from jetmesh.console.desk import ROOT, Desk, asked, desk_of
from jetmesh.console.letters import Letters
from jetmesh.console.link import Link
from jetmesh.console.live_pages import LivePages
from jetmesh.console.places import Places
from jetmesh.console.recorded import RecordedMinutes
from jetmesh.console.settings import ConsoleSettings
from jetmesh.console.watching import Watch
from jetmesh.failure import Unavailable
from jetmesh.http import PageSecurity
from jetmesh.jetstream.errors import ApiError
from jetmesh.service import Service

log = logging.getLogger("jetmesh.console")

OPEN, OPEN_FOLDER = (f"{ROOT}/login", f"{ROOT}/livez"), "/assets/"
"""What everybody may load: nothing of it says anything about the mesh."""


@asynccontextmanager
async def console(
    services: Sequence[Service],
    link: Link,
    settings: ConsoleSettings,
    places: Places,
    leaving: asyncio.Event,
    added: Added,
) -> AsyncIterator[ASGIApp]:
    """The application, for as long as the block runs."""
    access = Access(settings)
    letters = Letters(link, [service.name for service in services])
    watch = Watch(link, services, discreet=settings.console_hide_bodies)
    recorded, live = RecordedMinutes(link, services), LivePages(settings)
    desk = Desk(services, link, watch, recorded, access, letters, live, places, added.pages, added.effects)
    app = Starlette(routes=_routes(desk), exception_handlers=HANDLERS)
    app.state.desk, app.state.leaving = desk, leaving
    try:
        yield PageSecurity(AccessMiddleware(app, access))
    finally:
        await desk.jobs.stop()
        await desk.audit.stop()
        await letters.stop()
        await desk.watch.stop()


def _routes(desk: Desk) -> list[Route]:
    return [
        Route("/", lambda _: RedirectResponse(ROOT)),
        Route(f"{ROOT}/livez", lambda _: Response("ok", media_type="text/plain")),
        desk.assets.route(),
        *flow_view.ROUTES,
        *reaction_view.ROUTES,
        *letter_actions.ROUTES,
        *letters_view.ROUTES,
        *log_view.ROUTES,
        *story_view.ROUTES,
        *streams_view.ROUTES,
        *contracts_view.ROUTES,
        *health_view.ROUTES,
        *login_view.ROUTES,
        *added_view.routes(desk.added),
    ]


class AccessMiddleware:
    """Middleware: finds out who asks, before anything else, and gives every answer its headers."""

    def __init__(self, app: Starlette, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its user, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            scope["user"] = self._access.user(asked(scope))
        except NotAllowed as refused:
            is_open = scope["path"] in OPEN or scope["path"].startswith(OPEN_FOLDER)
            if refused.status != 401 or not is_open:
                scope["app"] = self._app
                answer = _refusal(Request(scope, receive), refused)
                return await answer(scope, receive, _uncached(send))
        await self._app(scope, receive, _uncached(send))


def _uncached(send: Send) -> Send:
    """No cache keeps an answer that does not say so itself."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
        await send(message)

    return sent


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    return _refusal(request, error)


def _refusal(request: Request, refused: NotAllowed) -> Response:
    desk = desk_of(request)
    if refused.status == 401 and desk.access.has_login and "authorization" not in request.headers:
        return RedirectResponse(login_view.address(request), 303)
    answer = _error(request, refused.status, "This is refused", str(refused))
    if refused.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _away(request: Request, error: Exception) -> Response:
    is_looking = request.method == "GET"
    words = (
        "The page loads again by itself until the broker answers."
        if is_looking
        else "Whether it was done is not known: look again once the broker answers. Nothing is done twice."
    )
    return _error(request, 503, "The mesh does not answer", f"{error}", words, reload=is_looking)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = "There is nothing here" if error.status_code == 404 else "This does not work"
    words = error.detail if error.detail != "Not Found" else "No page has this address."
    return _error(request, error.status_code, title, words)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("a page failed", exc_info=error)
    return _error(request, 500, "The console failed", "The error is in its log.")


def _error(request: Request, status: int, title: str, words: str, more: str = "", *, reload: bool = False) -> Response:
    return desk_of(request).page(
        request, "error.html", status=status, title=title, words=words, more=more, reload=reload
    )


HANDLERS = {
    NotAllowed: _refused,
    Unavailable: _away,
    TimeoutError: _away,
    ApiError: _away,
    HTTPException: _not_found,
    Exception: _failed,
}
