"""`/mesh/<path>`: a page that the app added."""

from collections.abc import Iterator, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.console.access import NotAllowed
from jetmesh.console.added import ConsolePage
from jetmesh.console.desk import ROOT, back, desk_of, form


async def show(page: ConsolePage, request: Request) -> Response:
    """How its items are now."""
    return desk_of(request).page(request, "added.html", page=page, items=await page.items())


async def act(page: ConsolePage, request: Request) -> Response:
    """Log it, and do it."""
    desk, fields = desk_of(request), await form(request)
    wanted, action = fields.get("item", ""), fields.get("do", "")
    item = next((each for each in await page.items() if each.name == wanted), None)
    if item is None or action not in item.actions:
        raise NotAllowed(409, "This can't be done any more: look at the page again.")
    operators, said = desk.post(request).operators, item.actions[action]
    await operators.note_act(desk.services[0].name, f"{page.path}.{wanted}", f"{page.path}: {action}", said)
    return back(f"/{page.path}", done=await page.act(wanted, action))


def routes(pages: Sequence[ConsolePage]) -> Iterator[Route]:
    """The routes of these pages."""
    for page in pages:
        yield Route(f"{ROOT}/{page.path}", partial(show, page))
        yield Route(f"{ROOT}/{page.path}/act", partial(act, page), methods=["POST"])
