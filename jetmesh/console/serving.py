"""Runs the console until a signal comes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from jetmesh.common.signals import until_signalled
from jetmesh.console.added import Added, require_fitting
from jetmesh.console.app import console
from jetmesh.console.desk import ROOT, VIEWS
from jetmesh.console.link import Link
from jetmesh.console.places import Places
from jetmesh.console.settings import ConsoleSettings
from jetmesh.http.limits import Limits
from jetmesh.http.server import listen, serving
from jetmesh.service import Service

NOWHERE, NOTHING = Places(), Added()


@asynccontextmanager
async def served(
    services: Sequence[Service],
    link: Link,
    settings: ConsoleSettings,
    places: Places = NOWHERE,
    added: Added = NOTHING,
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """The console, served for the block; yields its address, and the task that serves.

    Raises:
        SettingsError: the address can't be listened on.
        DeclarationError: an added page has the address or the key of another one.
    """
    require_fitting(added.pages, VIEWS)
    leaving = asyncio.Event()
    listener = listen(settings.console_host, settings.console_port, "JETMESH_CONSOLE_PORT")
    host, port = listener.getsockname()[:2]
    async with (
        link.kept(),
        console(services, link, settings, places, leaving, added) as app,
        serving(app, listener, Limits(), leaving, forwarded=False) as task,
    ):
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}{ROOT}", task


async def run(
    services: Sequence[Service],
    link: Link,
    settings: ConsoleSettings,
    places: Places,
    added: Added,
    ready: Callable[[str], None],
) -> None:
    """Serve the console until SIGTERM or SIGINT; `ready` gets its address. Raises what `served` raises."""

    async def serve() -> None:
        async with served(services, link, settings, places, added) as (url, task):
            ready(url)
            await asyncio.shield(task)

    await until_signalled(serve())
