"""An application on a port of its own, by our server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from jetmesh.http import Limits
from jetmesh.http.server import HttpServer, listen


@asynccontextmanager
async def listening(app: ASGIApp, port: int = 0, leaving: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Serve it, on a free port if none is given; its URL."""
    server = HttpServer(app, listen("127.0.0.1", port), Limits(stop_seconds=1), leaving or asyncio.Event())
    serving = asyncio.create_task(server.run_until_drained())
    try:
        yield f"http://127.0.0.1:{server.listener.getsockname()[1]}"
    finally:
        await asyncio.wait_for(server.drain(0), 20)
        await serving
