"""What every page of the console stands on: the app, its connection, who asks, and how a page is made."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jetmesh.app import name_of
from jetmesh.console.access import Access, Caller, NotAllowed, User
from jetmesh.console.added import ConsolePage
from jetmesh.console.effects import SideEffects
from jetmesh.console.jobs import LetterJobs
from jetmesh.console.letters import Letters
from jetmesh.console.link import Link
from jetmesh.console.live_audit import LiveAudit
from jetmesh.console.live_pages import LivePages
from jetmesh.console.places import Places
from jetmesh.console.recorded import RecordedMinutes
from jetmesh.console.rendering import templates
from jetmesh.console.watching import Watch
from jetmesh.event import EventType
from jetmesh.http import Assets
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.service import Service

log = logging.getLogger("jetmesh.console")

ROOT = "/mesh"
STATIC = Path(__file__).parent / "static"
FORM_BYTES_MAX, FIELDS_MAX, FORM_SECONDS_MAX = 4 << 20, 100, 30.0
VIEWS = {
    "": ("Flow", "f"),
    "letters": ("Dead letters", "d"),
    "story": ("Story", "s"),
    "streams": ("Streams", "m"),
    "contracts": ("Contracts", "c"),
    "health": ("Health", "h"),
    "books": ("Books", "b"),
    "log": ("Log", "l"),
}
"""The views in the order of the menu: path, name, and the key that opens it after `g`."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The console of one app."""

    services: Sequence[Service]
    link: Link
    watch: Watch
    recorded: RecordedMinutes
    access: Access
    letters: Letters
    live: LivePages
    places: Places = field(default_factory=Places)
    added: Sequence[ConsolePage] = ()
    effects: Sequence[SideEffects] = ()
    jobs: LetterJobs = field(default_factory=LetterJobs)
    audit: LiveAudit = field(default_factory=LiveAudit)
    pages: Environment = field(default_factory=templates)
    assets: Assets = field(default_factory=lambda: Assets(console=STATIC))

    @property
    def app_name(self) -> str:
        """The app's name, with the tenant's."""
        name, tenant = name_of(self.services) or "mesh", self.link.settings.tenant
        return f"{name} for {tenant}" if tenant else name

    def event_type(self, name: str) -> EventType | None:
        """The event of a type, if a reaction of the app takes or records it."""
        reactions = (reaction for service in self.services for reaction in service.reactions)
        events = (event for reaction in reactions for event in (*reaction.events, *reaction.outcomes))
        return next((event for event in events if event.type == name), None)

    def post(self, request: Request) -> DeadLetters:
        """The dead letters, for the user who asks.

        Raises:
            Unavailable: the broker is away.
        """
        context = self.link.context
        return DeadLetters(context.connection, context.publisher, request.scope["user"].name)

    def sees_bodies(self, request: Request) -> bool:
        """Whether the user who asks may read what bodies say: also headers, and the texts of errors, which may repeat
        it."""
        user: User | None = request.scope.get("user")
        return user is not None and self.access.sees_bodies(user)

    def page(self, request: Request, template: str, *, status: int = 200, **known: Any) -> Response:
        """A page from a template."""
        user: User | None = request.scope.get("user")
        html = self.pages.get_template(template).render(
            root=ROOT,
            asset=self.assets.url,
            views={**VIEWS, **{page.path: (page.title, page.key) for page in self.added}},
            app_name=self.app_name,
            here=request.url.path,
            query=request.url.query,
            user=user,
            may_act=bool(user and self.access.may_act(user)),
            sees_bodies=self.sees_bodies(request),
            form_token=self.access.form_token(user) if user else "",
            has_login=self.access.has_login,
            address=self.link.address,
            jaeger=self.places.jaeger_url,
            done=said(request, "done"),
            **known,
        )
        return HTMLResponse(html, status)


def desk_of(request: Request) -> Desk:
    """The desk of the application that answers."""
    desk: Desk = request.app.state.desk
    return desk


def asked(scope: Mapping[str, Any]) -> Caller:
    """What of a request access depends on."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Caller((scope.get("client") or ("", 0))[0], headers)


def said(request: Request, name: str) -> str:
    """What an action says on the page that it leads to. A link of another site could put its own words there."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return request.query_params.get(name, "") if site == "same-origin" else ""


def is_own(request: Request) -> bool:
    """Whether a page of this console asks, or a person by the address: no page of another site."""
    return request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")


async def form(request: Request) -> dict[str, str]:
    """The fields of a form, if the user may send it.

    Raises:
        NotAllowed: he may not; or the form is too large, or too slow.
    """
    desk_of(request).access.require_may_act(request.scope["user"])
    return await looking_form(request)


async def looking_form(request: Request) -> dict[str, str]:
    """The fields of a form that changes nothing of the mesh: viewers may send it, too.

    Raises:
        NotAllowed: it is none of the console's, too large, or too slow.
    """
    fields = fields_of(await body_of(request, FORM_BYTES_MAX))
    desk_of(request).access.check_form(request.scope["user"], fields.get("form_token", ""))
    return fields


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The body of a request.

    Raises:
        NotAllowed: it is too large, or too slow.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_SECONDS_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > bytes_max:
                    raise NotAllowed(413, f"Send at most {bytes_max:,} bytes.")
    except TimeoutError:
        raise NotAllowed(408, f"Send the form within {FORM_SECONDS_MAX:g} s.") from None
    return bytes(body)


def fields_of(body: bytes) -> dict[str, str]:
    """The fields of a form, of which the last counts.

    Raises:
        NotAllowed: they are too many.
    """
    try:
        found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise NotAllowed(413, f"Send at most {FIELDS_MAX} fields.") from None
    return {name: values[-1] for name, values in found.items()}


def back(path: str, **query: object) -> Response:
    """To another view, after an action."""
    told = urlencode({name: value for name, value in query.items() if value not in ("", None)})
    return RedirectResponse(f"{ROOT}{path}{'?' if told else ''}{told}", 303)
