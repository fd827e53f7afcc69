"""`/mesh/login`: a token becomes a session in the browser."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jetmesh.console.access import COOKIE, SESSION_SECONDS
from jetmesh.console.desk import ROOT, body_of, desk_of, fields_of

TOKEN_BYTES_MAX = 4_096


async def login(request: Request) -> Response:
    """The form; or the session that a token begins."""
    desk = desk_of(request)
    if request.method != "POST":
        return desk.page(request, "login.html", wrong=False)
    token = fields_of(await body_of(request, TOKEN_BYTES_MAX)).get("token", "").strip()
    role = desk.access.role_of(token) if token else None
    if role is None:
        return desk.page(request, "login.html", status=401, wrong=True)
    answer = RedirectResponse(ROOT, 303)
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
