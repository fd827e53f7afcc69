"""The dependencies of orders: the catalogue, and the HTTP edge next to the reactions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jetmesh import Context, SettingsError, read_settings
from jetmesh.http import HttpSettings, serve
from jetmesh_shop.orders.adapters import MeshOrders
from jetmesh_shop.orders.catalogue import PRICES, Catalogue
from jetmesh_shop.orders.edge.app import create_app
from jetmesh_shop.orders.edge.tokens import Tokens
from jetmesh_shop.orders.service import Orders

SECRET_LENGTH_MIN = 16


class Settings(HttpSettings):
    """`JETMESH_HTTP_PORT` and so on, the tokens of orders, the catalogue, and which addresses the mail server takes."""

    http_secret: str = ""
    http_operator_token: str = ""
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
    app = create_app(port, _tokens(settings), limits, tracer_provider=provider, leaving=leaving)
    serve(context, app, settings, limits=limits, leaving=leaving)


def _tokens(settings: Settings) -> Tokens:
    """The tokens of orders, which every replica must know, and know again after a restart.

    Raises:
        SettingsError: there is no secret to sign them with, or one is too short.
    """
    secret, operator = settings.http_secret, settings.http_operator_token
    if len(secret) < SECRET_LENGTH_MIN:
        wrong = f"is shorter than {SECRET_LENGTH_MIN} characters" if secret else "is not set"
        raise SettingsError(
            f"settings: JETMESH_HTTP_SECRET: it signs the tokens of orders, and {wrong}; give every replica the same, "
            f"for instance what `openssl rand -hex 32` prints"
        )
    if operator and len(operator) < SECRET_LENGTH_MIN:
        raise SettingsError(f"settings: JETMESH_HTTP_OPERATOR_TOKEN: is shorter than {SECRET_LENGTH_MIN} characters")
    return Tokens(secret.encode(), operator)
