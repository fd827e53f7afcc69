"""The dependencies of parcels; where `JETMESH_HTTP_PORT` is set, their edge is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.edge.edge import edge
from examples.edge.service import Depots
from jetmesh import Context, read_settings
from jetmesh.http import HttpSettings, serve


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[Depots]:
    """The depots; the edge is served next to the reactions."""
    settings = read_settings(HttpSettings)
    limits, leaving = settings.limits(), asyncio.Event()
    serve(context, edge(context, limits, leaving), settings, limits=limits, leaving=leaving)
    yield Depots("north")
