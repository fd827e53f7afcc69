"""Orders as it runs: the catalogue, and the HTTP edge beside the reactions."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from pydantic import BaseModel

from jetmesh.mesh import Mesh
from jetmesh.settings import read
from services.orders.adapters import MeshOrders
from services.orders.catalogue import prices
from services.orders.edge.app import create_app
from services.orders.edge.tokens import Tokens
from services.orders.service import Orders


class Settings(BaseModel):
    """`JETMESH_HTTP_PORT` and so on."""

    http_host: str = "127.0.0.1"
    http_port: int = 0
    http_secret: str = ""
    http_operator_token: str = ""
    catalogue: Path | None = None
    mail_smtputf8: bool = False


@asynccontextmanager
async def wire(mesh: Mesh) -> AsyncIterator[Orders]:
    """The catalogue; where `JETMESH_HTTP_PORT` is set, the edge listens as well."""
    settings = read(Settings)
    catalogue = prices(settings.catalogue)
    if settings.http_port:
        edge = _edge(mesh, settings, MeshOrders(mesh, catalogue, smtputf8=settings.mail_smtputf8))
        mesh.run(edge.serve, name=f"the HTTP edge on port {settings.http_port}", up=edge.up)
    yield Orders(catalogue, settings.mail_smtputf8)


class Edge(uvicorn.Server):
    """The HTTP server, whose signals are the process's and not its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.up.set()


def _edge(mesh: Mesh, settings: Settings, port: MeshOrders) -> Edge:
    secret = settings.http_secret or secrets.token_hex(32)
    operators = (settings.http_operator_token,) if settings.http_operator_token else ()
    tokens, observed = Tokens((secret.encode(),), operators), mesh.telemetry
    app = create_app(port, tokens, observed.tracer, trusts_callers=observed.trusts_outside)
    config = uvicorn.Config(
        app,
        settings.http_host,
        settings.http_port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
    )
    return Edge(config)
