"""The fixtures: a broker for the test, and services that run on it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jetmesh.app import App
from jetmesh.middleware import Middleware
from jetmesh.service import Service
from jetmesh.testing.broker import Broker
from jetmesh.testing.local import LocalMesh, MeshOf


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One nats-server for all tests that use it. Their streams stay: prefer `nats_broker`."""
    with Broker(tmp_path_factory.mktemp("nats-server")) as server:
        yield server


@pytest.fixture
def nats_broker(tmp_path: Path) -> Iterator[Broker]:
    """A new nats-server for the test (it starts in 30 ms): the test may kill and restart it."""
    with Broker(tmp_path / "broker") as server:
        yield server


@pytest_asyncio.fixture
async def mesh_of(nats_broker: Broker) -> AsyncIterator[MeshOf]:
    """Services that run on the test's broker: `mesh = await mesh_of(payments, dependencies=[Payments(bank)])`."""
    async with AsyncExitStack() as stack:

        async def make(
            *services: Service,
            dependencies: Sequence[Any] = (),
            middlewares: Sequence[Middleware] = (),
            start: bool = True,
            **environment: str,
        ) -> LocalMesh:
            mesh = LocalMesh(App(services, middlewares), dependencies, {"NATS_URL": nats_broker.url, **environment})
            await stack.enter_async_context(mesh)
            for service in services if start else ():
                await mesh.start(service)
            return mesh

        yield make
