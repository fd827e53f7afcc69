"""A console of its own for each test, on the test's broker."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import httpx
import pytest_asyncio

from jetmesh import App, Service
from jetmesh.console.added import Added, ConsolePage
from jetmesh.console.effects import SideEffects
from jetmesh.console.link import Link
from jetmesh.console.places import Places
from jetmesh.console.serving import NOWHERE, served
from jetmesh.console.settings import ConsoleSettings
from jetmesh.settings import Settings, read
from jetmesh.testing import Broker, until

ConsoleOf = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest_asyncio.fixture
async def console_of(broker: Broker) -> AsyncIterator[ConsoleOf]:
    """`browser = await console_of(services)`: a browser at the console of these services, with its settings."""
    async with AsyncExitStack() as stack:

        async def opened(
            services: Sequence[Service],
            *,
            added: Sequence[ConsolePage] = (),
            effects: Sequence[SideEffects] = (),
            places: Places = NOWHERE,
            **variables: str,
        ) -> httpx.AsyncClient:
            link = Link(read(Settings, {"NATS_URL": broker.url, "JETMESH_CONNECT_SECONDS": "0.5"}))
            said = {f"JETMESH_CONSOLE_{name.upper()}": value for name, value in variables.items()}
            settings = read(ConsoleSettings, {"JETMESH_CONSOLE_PORT": "0", **said})
            app = App(services, name="tolls")
            url, _ = await stack.enter_async_context(served(app, link, settings, places, Added(added, effects)))
            if broker.pid:  # on a machine that is busy a connection takes longer than the console waits for it
                await until(lambda: not link.trouble, what="the console has a connection")
            return await stack.enter_async_context(httpx.AsyncClient(base_url=url.removesuffix("/mesh"), timeout=20))

        yield opened
