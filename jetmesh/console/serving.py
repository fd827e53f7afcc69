"""Runs the console until a signal comes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from jetmesh.common.signals import until_signalled
from jetmesh.console.app import console
from jetmesh.console.desk import ROOT
from jetmesh.console.link import Link
from jetmesh.console.places import Places
from jetmesh.console.settings import ConsoleSettings
from jetmesh.http.limits import Limits
from jetmesh.http.server import HttpServer, listen
from jetmesh.service import Service

NOWHERE = Places()


@asynccontextmanager
async def served(
    services: Sequence[Service], link: Link, settings: ConsoleSettings, places: Places = NOWHERE
) -> AsyncIterator[str]:
    """The console, served for the block; yields its address.

    Raises:
        SettingsError: the address can't be listened on.
    """
    leaving = asyncio.Event()
    listener = listen(settings.console_host, settings.console_port, "JETMESH_CONSOLE_PORT")
    host, port = listener.getsockname()[:2]
    async with link.kept(), console(services, link, settings, places, leaving) as app:
        server = HttpServer(app, listener, Limits(), leaving)
        serving = asyncio.create_task(server.run_until_drained(), name="the console's HTTP")
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}{ROOT}"
        finally:
            await server.drain(0)
            await serving


async def run(
    services: Sequence[Service], link: Link, settings: ConsoleSettings, places: Places, ready: Callable[[str], None]
) -> None:
    """Serve the console until SIGTERM or SIGINT; `ready` gets its address. Raises what `served` raises."""

    async def serve() -> None:
        async with served(services, link, settings, places) as url:
            ready(url)
            await asyncio.Event().wait()

    await until_signalled(serve())
