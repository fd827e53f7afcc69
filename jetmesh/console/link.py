"""The console's connection to the mesh: it comes and goes with the broker, and the pages say which."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from jetmesh.failure import Unavailable
from jetmesh.runtime.context import Context, connect, shown
from jetmesh.settings import Settings, SettingsError
from jetmesh.telemetry import providers

AGAIN_SECONDS, FIRST_SECONDS = 1.0, 1.0


class Link:
    """The connection, from the first time that a broker answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._context: Context | None = None
        self._trouble = "the connection is not there yet"
        self._reached = asyncio.Event()

    @property
    def address(self) -> str:
        """The broker's address, without users and passwords."""
        return shown(self.settings.nats_url)

    @property
    def trouble(self) -> str:
        """Why nothing can be read now; empty if it can."""
        return self._context.connection.trouble if self._context else self._trouble

    @property
    def away(self) -> str:
        """What a page says while nothing can be read."""
        return f"The broker at {self.address} does not answer. The figures come as soon as it does."

    @property
    def context(self) -> Context:
        """What reads and writes.

        Raises:
            Unavailable: there is no connection now.
        """
        if self._context is None or self.trouble:
            raise Unavailable(f"the broker at {self.address} is away: {self.trouble}")
        return self._context

    def require(self) -> None:
        """Raises what `context` raises."""
        _ = self.context

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the connection for the block, whether or not a broker is there; one that is has a moment to answer."""
        logging.getLogger("jetmesh.connection").setLevel(logging.ERROR)  # the pages say it
        keeper = asyncio.create_task(self._keep(), name="the console's connection")
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reached.wait(), FIRST_SECONDS)
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    async def _keep(self) -> None:
        while True:
            try:
                async with connect(self.settings, providers.start("jetmesh", {}), "jetmesh-console") as context:
                    self._context = context
                    self._reached.set()
                    await asyncio.Event().wait()
            except (ConnectionError, SettingsError) as failed:
                self._trouble = str(failed)
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                self._context = None
