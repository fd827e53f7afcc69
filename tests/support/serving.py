"""An application on a port of its own, by our server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from jetmesh.http import Limits
from jetmesh.http.server import listen, serving


@asynccontextmanager
async def listening(app: ASGIApp, port: int = 0, leaving: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Serve it, on a free port if none is given; its URL."""
    listener = listen("127.0.0.1", port)
    async with serving(app, listener, Limits(stop_seconds=1), leaving or asyncio.Event()):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
