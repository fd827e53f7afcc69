"""What a browser is told to refuse on our pages, and what pages of others can't make it do to us."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jetmesh.http.problems import ProblemKind, response_of

CONTENT_SECURITY_POLICY = "; ".join([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "frame-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'self'",
])  # fmt: skip
"""Everything from this server, nothing inline, no evaluation of text."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
FOREIGN_PAGE = ProblemKind.named(403, "foreign-page", "The page of another site sent this")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class PageSecurity:
    """Middleware for pages: a strict Content-Security-Policy where an answer has none of its own, and 403 for what
    another site's page sends here with this browser's cookies (CSRF)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless another site has sent it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    told.setdefault(name, value)
            await send(message)

        if is_foreign(scope):
            return await response_of(FOREIGN_PAGE.problem("Use this site's own page."))(scope, receive, guarded)
        await self.app(scope, receive, guarded)


def is_foreign(scope: Scope) -> bool:
    """Whether the page of another site wants to change something here. A browser says whose page it is; what is no
    browser says nothing, and has no cookies that could be misused."""
    headers = Headers(scope=scope)
    if scope["method"] in SAFE:
        return False
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")
