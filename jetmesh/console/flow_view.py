"""`/mesh`: the flow with its figures, live or as they were at a time."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jetmesh.console.access import User
from jetmesh.console.desk import Desk, desk_of
from jetmesh.console.picture import picture
from jetmesh.console.rewinding import rewound
from jetmesh.console.state import UNKNOWN, told
from jetmesh.failure import Unavailable
from jetmesh.http.events import BEAT_SECONDS, STILL_HERE, answer, comes, event

CROWDED_SECONDS = 10.0
"""After so long a page that found no room asks again."""
LIVE_SECONDS = 900.0
"""So long a page is live before it asks anew: whether its session still holds is looked at then."""


async def flow(request: Request) -> Response:
    """The picture of the flow, with the figures as they are now or were at a time."""
    desk, text = desk_of(request), request.query_params.get("at", "")
    past, known = await asyncio.gather(rewound(desk, text), _now(desk) if not text else asyncio.sleep(0, told(None)))
    known = past.told or known
    return desk.page(request, "flow.html", picture=picture(desk.services), unknown=UNKNOWN, past=past, **known)


async def at(request: Request) -> Response:
    """What the page shows of a time, for its script."""
    desk = desk_of(request)
    past = await rewound(desk, request.query_params.get("at", ""))
    return JSONResponse({**past.told, "words": past.words, "recorded": past.recorded, "at": past.name})


async def _now(desk: Desk) -> dict[str, Any]:
    try:
        return desk.watch.told(await desk.watch.now())
    except Unavailable:
        return told(None) | {"warnings": [desk.link.away]}


async def live(request: Request) -> Response:
    """The figures as server-sent events, until the viewer goes."""
    return answer(_events(desk_of(request), request.scope["user"], request.app.state.leaving))


async def _events(desk: Desk, user: User, leaving: asyncio.Event) -> AsyncIterator[str]:
    """The figures as they are now where there is no room for a live page; else what differs from the event before."""
    yield "retry: 1000\n\n"
    if why := desk.live.no_room(user):
        yield await _crowded(desk, why)
        return
    with desk.live.opened(user), desk.watch.viewing():
        async for text in _news(desk, leaving):
            yield text
    if not leaving.is_set():
        yield event("renew", {})


async def _crowded(desk: Desk, why: str) -> str:
    """The figures of now, why they do not follow, and when to ask again."""
    known = await _now(desk)
    words = f"{why} The figures are renewed every {CROWDED_SECONDS:g} seconds, and follow as soon as there is room."
    shown = known | {"trouble": desk.link.trouble, "warnings": [words, *known["warnings"]]}
    return event("mesh", shown) + event("crowded", {"seconds": CROWDED_SECONDS, "words": words})


async def _news(desk: Desk, leaving: asyncio.Event) -> AsyncIterator[str]:
    """What is new, or a comment where nothing is for a while; ends in time for the next look at who asks."""
    shown, sent = 0, time.monotonic()
    until = sent + LIVE_SECONDS
    while time.monotonic() < until and await comes(leaving, BEAT_SECONDS, coming := desk.watch.coming()):
        text = ""
        if coming.done():
            frame = coming.result()
            text, shown = frame.since(shown), frame.number
        if not text and time.monotonic() - sent >= BEAT_SECONDS:
            text = STILL_HERE
        if text:
            sent = time.monotonic()
            yield text


ROUTES = [Route("/mesh", flow), Route("/mesh/live", live), Route("/mesh/at", at)]
