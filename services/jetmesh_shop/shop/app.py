"""The shop's application: its routes, and what they stand on."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jetmesh.http import PageSecurity
from jetmesh_shop.shop import buying, following
from jetmesh_shop.shop.state import Shop, shop_of


def create_app(shop: Shop) -> Starlette:
    """The application."""
    app = Starlette(
        routes=[
            *buying.routes(),
            *following.routes(),
            Route("/favicon.ico", icon),
            Route("/livez", alive),
            shop.assets.route(),
        ],
        middleware=[Middleware(PageSecurity)],
        exception_handlers={404: not_found},
    )
    app.state.shop = shop
    return app


async def icon(request: Request) -> Response:
    """What browsers ask for by themselves."""
    return RedirectResponse(shop_of(request).assets.url("base/icon.svg"))


async def alive(_: Request) -> Response:
    """The process answers; whether the mesh does, the pages show."""
    return Response("ok", media_type="text/plain")


async def not_found(request: Request, _: Exception) -> Response:
    """There is no such page."""
    return shop_of(request).page("not_shown.html", 404)
