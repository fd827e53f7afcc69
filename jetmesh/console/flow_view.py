"""`/mesh`: the flow with its figures, once a second; and one reaction."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from jetmesh.console.desk import Desk, desk_of
from jetmesh.console.picture import picture
from jetmesh.console.rendering import shown
from jetmesh.console.state import UNKNOWN, cells, totals, warnings
from jetmesh.failure import Unavailable
from jetmesh.operate.overview import Overview

BEAT_SECONDS = 10.0


async def flow(request: Request) -> Response:
    """The picture of the flow, with the figures as they are now."""
    desk = desk_of(request)
    try:
        overview = await desk.watch.now()
    except Unavailable:
        overview = None
    known = _told(overview)
    return desk.page(request, "flow.html", picture=picture(desk.services), unknown=UNKNOWN, **known)


async def live(request: Request) -> Response:
    """The figures as server-sent events, until the viewer goes."""
    desk, leaving = desk_of(request), request.app.state.leaving
    return StreamingResponse(
        _events(desk, leaving), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _events(desk: Desk, leaving: asyncio.Event) -> AsyncIterator[str]:
    """What differs from the event before; a comment where nothing does for a while."""
    gone = asyncio.create_task(leaving.wait())
    before: dict[str, Any] = {}
    try:
        with desk.watch.viewing():
            yield "retry: 1000\n\n"
            while True:
                coming = desk.watch.coming()
                waits: list[asyncio.Future[Any]] = [coming, gone]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                known = _told(coming.result()) | {"trouble": desk.link.trouble}
                changed = _difference(before, known)
                before = known
                yield f"event: mesh\ndata: {shown(changed)}\n\n" if changed else ": \n\n"
    finally:
        gone.cancel()


def _told(overview: Overview | None) -> dict[str, Any]:
    if overview is None:
        return {"cells": {}, "totals": {}, "warnings": []}
    return {"cells": cells(overview), "totals": totals(overview), "warnings": warnings(overview)}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What is new or another one, of the cells reaction by reaction."""
    found = {name: value for name, value in now.items() if before.get(name) != value}
    if "cells" in found:
        known = before.get("cells", {})
        found["cells"] = {name: value for name, value in found["cells"].items() if known.get(name) != value}
    return found


ROUTES = [Route("/mesh", flow), Route("/mesh/live", live)]
