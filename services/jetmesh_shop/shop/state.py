"""What the routes of the shop stand on, and how they answer with a page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from jetmesh import Mesh, Unavailable
from jetmesh.common.visible import visible
from jetmesh.http import Assets
from jetmesh.http.browser.times import in_utc
from jetmesh.http.events import BEAT_SECONDS, STILL_HERE, answer, comes, event
from jetmesh_shop.shop.edge import OrdersApi
from jetmesh_shop.shop.evidence import Evidence
from jetmesh_shop.shop.stock import Stock

HERE = Path(__file__).parent
FORM_BYTES, FIELDS_MAX = 16 * 1024, 64
FRAME_SECONDS = 0.03
VIEWERS_MAX = 500
BROKER_AWAY = "The shop has no connection to its broker."


def duration(ms: float) -> str:
    """A duration with about three digits, as `jetmesh story` prints it."""
    if ms < 999.5:
        return f"{ms:.1f} ms" if ms < 99.95 else f"{ms:.0f} ms"
    seconds = ms / 1_000
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"


@dataclass
class Shop:
    """The shop at work."""

    mesh: Mesh
    api: OrdersApi
    stock: Stock
    evidence: Evidence
    leaving: asyncio.Event
    assets: Assets = field(default_factory=lambda: Assets(shop=HERE / "static"))
    viewers: int = 0

    def __post_init__(self) -> None:
        loader = FileSystemLoader(HERE / "templates")
        self._pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                                  lstrip_blocks=True)  # fmt: skip
        self._pages.filters |= {"duration": duration, "visible": visible, "in_utc": in_utc}
        self._pages.globals["asset"] = self.assets.url

    @property
    def trouble(self) -> str:
        """Why nothing comes from the mesh now, in words for a customer; empty if it does."""
        return BROKER_AWAY if self.mesh.context.connection.trouble else ""

    def html(self, template: str, **values: object) -> str:
        """A template, filled."""
        return self._pages.get_template(template).render(values)

    def page(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page; no cache keeps it."""
        return HTMLResponse(self.html(template, **values), status, {"Cache-Control": "no-store"})


def shop_of(request: Request) -> Shop:
    """What the application was made of."""
    shop: Shop = request.app.state.shop
    return shop


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, of which the last counts; empty where it is too large or none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return {}
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


Source = TypeVar("Source")


@dataclass(frozen=True)
class Live(Generic[Source]):
    """A part of a page that changes while somebody looks: what is looked at, how it looks (and whether that is the last
    time), and what returns when it may look otherwise; at the latest it is looked at again after `seconds_max`."""

    source: AbstractAsyncContextManager[Source]
    render: Callable[[Source], Awaitable[tuple[str, bool]]]
    changed: Callable[[Source], Awaitable[object]]
    seconds_max: float = BEAT_SECONDS

    def response(self, shop: Shop) -> Response:
        """Server-sent events, each with the whole part as HTML, at most 33 a second."""
        if shop.viewers >= VIEWERS_MAX:
            return Response(status_code=503, headers={"Retry-After": "1"})
        return answer(self._frames(shop))

    async def _frames(self, shop: Shop) -> AsyncIterator[str]:
        """Where the mesh is away, it ends: the page comes back by itself."""
        shop.viewers += 1
        try:
            with suppress(Unavailable):
                async with self.source as source:
                    async for frame in self._seen(shop, source):
                        yield frame
        finally:
            shop.viewers -= 1

    async def _seen(self, shop: Shop, source: Source) -> AsyncIterator[str]:
        seen, is_wanted = "", not shop.leaving.is_set()
        while is_wanted:
            looked_at = monotonic()
            html, is_last = await self.render(source)
            yield event("page", {"html": html}) if html != seen else STILL_HERE
            seen = html
            if is_last:
                yield event("end", {})
                return
            changed = asyncio.ensure_future(self.changed(source))
            try:
                is_wanted = await comes(shop.leaving, self.seconds_max, changed)
            finally:
                changed.cancel()
            await asyncio.sleep(FRAME_SECONDS - (monotonic() - looked_at))
