"""`/orders/{id}`: an order as it is and as it happens, its mails, its cancellation, for the browser that bought it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from jetmesh import Unavailable
from jetmesh.operate.span_record import SpanRecord
from jetmesh_shop.shop import view
from jetmesh_shop.shop.cookies import tokens_of
from jetmesh_shop.shop.edge import AWAY
from jetmesh_shop.shop.evidence import Mail
from jetmesh_shop.shop.state import Live, Shop, form_of, shop_of
from jetmesh_shop.shop.story import Followed, Story, followed, read

Kept: TypeAlias = tuple[Sequence[SpanRecord], Sequence[Mail]]
"""What is kept beside the story."""

SEE_OTHER = 303
SPANS_EVERY_SECONDS = 0.25
LAST_SPANS = timedelta(seconds=6)
"""Spans and mails come after their events: so long the page waits for the last of them."""
MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
"""A mail's own styles, and nothing else: no script, no picture from elsewhere, no form."""
MAIL_AWAY = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Mail</title>
<p>The mesh does not answer now. The mail was sent: load the page again in a moment to read it.</p></html>"""


async def show(request: Request) -> Response:
    """The order's page."""
    shop, order_id = shop_of(request), request.path_params["order_id"]
    if refused := await _refused(request):
        return refused
    try:
        story = await read(shop.mesh, order_id)
    except Unavailable:
        return _away(shop, order_id)
    shown = view.view(order_id, story, *await _kept(shop, story))
    return shop.page("order.html", **_parts(shop, shown, request.query_params.get("told", "")), trouble="")


def _parts(shop: Shop, shown: view.OrderView, told: str = "") -> dict[str, Any]:
    """What the parts of the page are filled with."""
    kept = shop.evidence
    return {"view": shown, "jaeger": kept.jaeger_url, "keeps_mails": kept.mails is not None, "told": told}


async def events(request: Request) -> Response:
    """The page's contents as the order goes on."""
    shop, order_id = shop_of(request), request.path_params["order_id"]
    if refused := await _refused(request):
        return refused

    kept: Kept = ([], [])

    async def render(mine: Followed) -> tuple[str, bool]:
        """An event is shown at once; what is kept beside it comes later anyway, and is read between the events."""
        nonlocal kept
        if not mine.changed.is_set():
            kept = await _kept(shop, mine.story)
        mine.changed.clear()
        shown = view.view(order_id, mine.story, *kept)
        html = shop.html("order_parts.html", **_parts(shop, shown), trouble=shop.trouble)
        return html, shown.is_over and _is_settled(mine, shown)

    source = followed(shop.mesh, order_id)
    return Live(source, render, lambda mine: mine.changed.wait(), SPANS_EVERY_SECONDS).response(shop)


async def cancel(request: Request) -> Response:
    """Ask to cancel it; the page says what becomes of that."""
    shop, order_id = shop_of(request), request.path_params["order_id"]
    await form_of(request)
    answer = await shop.api.cancel(order_id, tokens_of(request).get(order_id, ""))
    if not answer.is_good and answer.status not in (409, AWAY):
        return _not_shown(shop)
    told = "" if answer.is_good else "?told=too-late" if answer.status == 409 else "?told=away"
    return RedirectResponse(f"/orders/{quote(order_id, safe='')}{told}", SEE_OTHER)


async def mail(request: Request) -> Response:
    """A mail's HTML as it was sent, for a frame of the page."""
    shop, order_id = shop_of(request), request.path_params["order_id"]
    headers = {"Content-Security-Policy": MAIL_POLICY, "Cache-Control": "no-store"}
    refused = await _refused(request)
    if refused and refused.status_code != AWAY:
        return refused
    try:
        story = {} if refused else await read(shop.mesh, order_id)
    except Unavailable:
        story = {}
    if not story:
        return HTMLResponse(MAIL_AWAY, AWAY, headers)
    mails = await asyncio.to_thread(shop.evidence.mails_of, view.message_ids(story))
    number = request.path_params["number"]
    if not 0 <= number < len(mails):
        return Response(status_code=404)
    return HTMLResponse(mails[number].html, headers=headers)


async def _refused(request: Request) -> Response | None:
    """The answer to a browser that may not see the order, or not now. The edge decides, by the order's token."""
    shop, order_id = shop_of(request), request.path_params["order_id"]
    answer = await shop.api.show(order_id, tokens_of(request).get(order_id, ""))
    if answer.is_good:
        return None
    return _away(shop, order_id) if answer.status in (429, AWAY) else _not_shown(shop)


def _not_shown(shop: Shop) -> Response:
    """The same words whether there is such an order or not."""
    return shop.page("not_shown.html", 404)


def _away(shop: Shop, order_id: str) -> Response:
    return shop.page("away.html", AWAY, order_id=order_id, trouble=shop.trouble)


async def _kept(shop: Shop, story: Story) -> Kept:
    def read_files() -> Kept:
        spans = shop.evidence.spans(view.trace_ids(story))
        return spans, shop.evidence.mails_of(view.message_ids(story))

    return await asyncio.to_thread(read_files)


def _is_settled(mine: Followed, shown: view.OrderView) -> bool:
    """Whether spans and mails of everything are there, or will not be any more."""
    complete = all(entry.bar for entry in shown.entries) and len(shown.mails) == len(view.message_ids(mine.story))
    return complete or (mine.since is not None and datetime.now(UTC) - mine.since > LAST_SPANS)


def routes() -> list[Route]:
    """The routes."""
    return [
        Route("/orders/{order_id}", show, methods=["GET"]),
        Route("/orders/{order_id}/events", events, methods=["GET"]),
        Route("/orders/{order_id}/cancel", cancel, methods=["POST"]),
        Route("/orders/{order_id}/mails/{number:int}", mail, methods=["GET"]),
    ]
