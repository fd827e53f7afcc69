"""The dependencies of orders: the catalogue, and the HTTP edge next to the reactions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jetmesh import Context, read_settings
from jetmesh.http import TokenSettings, serve
from jetmesh_shop.orders.adapters import MeshOrders
from jetmesh_shop.orders.catalogue import PRICES, Catalogue
from jetmesh_shop.orders.edge.app import create_app
from jetmesh_shop.orders.service import Orders


class Settings(TokenSettings):
    """`JETMESH_HTTP_PORT` and so on, the tokens of orders, the catalogue, and which addresses the mail server takes."""

    catalogue: Catalogue = PRICES
    mail_smtputf8: bool = False


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Orders]:
    """The catalogue; where `JETMESH_HTTP_PORT` is set, the edge listens as well."""
    settings = read_settings(Settings)
    if settings.http_port:
        _serve(context, settings, MeshOrders(context, settings.catalogue, smtputf8=settings.mail_smtputf8))
    yield Orders(settings.catalogue, settings.mail_smtputf8)


def _serve(context: Context, settings: Settings, port: MeshOrders) -> None:
    limits, leaving = settings.limits(), asyncio.Event()
    provider = context.telemetry.tracer_provider
    app = create_app(port, settings.tokens("orders"), limits, tracer_provider=provider, leaving=leaving)
    serve(context, app, settings, limits=limits, leaving=leaving)
