"""`/mesh`: the flow with its figures, live or as they were at a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jetmesh.console.desk import Desk, desk_of
from jetmesh.console.picture import picture
from jetmesh.console.rewinding import rewound
from jetmesh.console.state import UNKNOWN, told
from jetmesh.failure import Unavailable
from jetmesh.http.events import BEAT_SECONDS, STILL_HERE, answer, comes, event


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
        return told(await desk.watch.now())
    except Unavailable:
        return told(None) | {"warnings": [_away(desk)]}


def _away(desk: Desk) -> str:
    return f"The broker at {desk.link.address} does not answer. The figures come as soon as it does."


async def live(request: Request) -> Response:
    """The figures as server-sent events, until the viewer goes."""
    return answer(_events(desk_of(request), request.app.state.leaving))


async def _events(desk: Desk, leaving: asyncio.Event) -> AsyncIterator[str]:
    """What differs from the event before; a comment where nothing does."""
    before: dict[str, Any] = {}
    with desk.watch.viewing():
        yield "retry: 1000\n\n"
        while await comes(leaving, BEAT_SECONDS, coming := desk.watch.coming()):
            known = before
            if coming.done():
                known = coming.result() | {"trouble": desk.link.trouble}
                if desk.link.trouble:
                    known["warnings"] = [_away(desk)]
            changed = _difference(before, known)
            before = known
            yield event("mesh", changed) if changed else STILL_HERE


def _difference(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What is new or another one, of the cells reaction by reaction."""
    found = {name: value for name, value in now.items() if before.get(name) != value}
    if "cells" in found:
        known = before.get("cells", {})
        found["cells"] = {name: value for name, value in found["cells"].items() if known.get(name) != value}
    return found


ROUTES = [Route("/mesh", flow), Route("/mesh/live", live), Route("/mesh/at", at)]
