"""`/mesh/login`: a token becomes a session in the browser, and leads to the page that was asked for."""

import re
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jetmesh.console.access import COOKIE, SESSION_SECONDS
from jetmesh.console.desk import ROOT, body_of, desk_of, fields_of

FORM_BYTES_MAX, ADDRESS_MAX = 4_096, 1_000
OWN = re.compile(rf"{ROOT}(?:[/?].*)?")
"""An address of the console, and of no other site."""


def address(request: Request) -> str:
    """Where to log in for a page."""
    to = str(request.url).removeprefix(str(request.base_url).rstrip("/"))
    if request.method != "GET" or to == ROOT or len(to) > ADDRESS_MAX:
        return f"{ROOT}/login"
    return f"{ROOT}/login?{urlencode({'to': to})}"


async def login(request: Request) -> Response:
    """The form; or the session that a token begins."""
    desk = desk_of(request)
    if request.method != "POST":
        return desk.page(request, "login.html", wrong=False, to=request.query_params.get("to", ""))
    fields = fields_of(await body_of(request, FORM_BYTES_MAX))
    token, to = fields.get("token", "").strip(), fields.get("to", "")
    role = desk.access.role_of(token) if token else None
    if role is None:
        return desk.page(request, "login.html", status=401, wrong=True, to=to)
    answer = RedirectResponse(to if OWN.fullmatch(to) else ROOT, 303)
    answer.set_cookie(
        COOKIE, desk.access.session(role), max_age=SESSION_SECONDS, path=ROOT, httponly=True, samesite="strict",
        secure=request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https",
    )  # fmt: skip
    return answer


async def logout(_: Request) -> Response:
    """The end of the session in this browser."""
    answer = RedirectResponse(f"{ROOT}/login", 303)
    answer.delete_cookie(COOKIE, path=ROOT)
    return answer


ROUTES = [Route("/mesh/login", login, methods=["GET", "POST"]), Route("/mesh/logout", logout, methods=["POST"])]
