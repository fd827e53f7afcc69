"""Orders are placed while its replicas are restarted one after the other: no failure, and no connection refused."""

import asyncio
import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from jetmesh.common.ports import free_ports
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from tests.support.processes import is_ready
from tests.support.samples import body

REQUESTS_PER_SECOND, ENDPOINTS_SECONDS, PAUSE_SECONDS = 50, 0.5, 1.5


class Replica:
    """A process of orders, with its ports for probes and for customers."""

    def __init__(self, broker: Broker) -> None:
        self.health, self.http = free_ports(2)
        self._environment = {
            **os.environ,
            "NATS_URL": broker.url,
            "JETMESH_HEALTH_PORT": str(self.health),
            "JETMESH_HTTP_PORT": str(self.http),
            "JETMESH_HTTP_SECRET": "a secret of all replicas",
            "JETMESH_HTTP_PAUSE_SECONDS": str(PAUSE_SECONDS),
        }
        self.is_ready = False
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-c", "from jetmesh.commands import main; main()", "run", "orders"]
        self.process = await asyncio.create_subprocess_exec(
            *command, "--app", "jetmesh_shop.flow:SERVICES", env=self._environment
        )

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def probe(self) -> None:
        self.is_ready = await asyncio.to_thread(is_ready, self.health)


class Balancer:
    """Hands each connection to a replica that is ready, as the endpoints of a Kubernetes Service do: it hears of a
    change a moment later."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas, self._next = replicas, itertools.count()
        self.refused = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        watching = asyncio.create_task(self._watch())
        async with await asyncio.start_server(self._pass, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            server.close()
        watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.gather(*(replica.probe() for replica in self._replicas))
            await asyncio.sleep(ENDPOINTS_SECONDS)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = [replica for replica in self._replicas if replica.is_ready]
        try:
            port = ready[next(self._next) % len(ready)].http
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, ZeroDivisionError):
            self.refused += 1
            writer.close()
            return
        await asyncio.gather(pipe(reader, back_writer), pipe(back_reader, writer))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def place(client: httpx.AsyncClient, number: int, answers: Counter[str]) -> None:
    """One order."""
    try:
        answers[str((await client.post("/orders", json=body(f"o-{number}"))).status_code)] += 1
    except httpx.HTTPError as error:
        answers[type(error).__name__] += 1


async def order(url: str, stop: asyncio.Event, headers: dict[str, str], numbers: Iterator[int]) -> Counter[str]:
    """So many orders a second until told to stop; how each was answered."""
    answers, loop = Counter[str](), asyncio.get_running_loop()
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client, asyncio.TaskGroup() as under_way:
        due = loop.time()
        while not stop.is_set():
            under_way.create_task(place(client, next(numbers), answers))
            due += 2 / REQUESTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))
    return answers


@pytest.fixture
async def replicas(mesh_of: MeshOf, broker: Broker) -> AsyncIterator[tuple[LocalMesh, list[Replica]]]:
    from jetmesh_shop.flow import SERVICES

    mesh = await mesh_of(*SERVICES, start=False)
    made = [Replica(broker), Replica(broker)]
    for replica in made:
        await replica.start()
    yield mesh, made
    for replica in made:
        if replica.process and replica.process.returncode is None:
            await replica.stop()


async def test_a_rolling_restart_answers_every_order(replicas: tuple[LocalMesh, list[Replica]]) -> None:
    mesh, made = replicas
    balancer, stop, numbers = Balancer(made), asyncio.Event(), itertools.count()
    async with balancer.open() as url:
        await until(lambda: all(replica.is_ready for replica in made), 60, "both replicas are ready")
        kept = asyncio.create_task(order(url, stop, {}, numbers))
        new = asyncio.create_task(order(url, stop, {"Connection": "close"}, numbers))
        for replica in made:
            assert await replica.stop() == 0
            await replica.start()
            await until(lambda: all(replica.is_ready for replica in made), 60, "both replicas are ready")
        stop.set()
        answers = await kept + await new
    assert set(answers) == {"201"}
    assert balancer.refused == 0
    assert await mesh.count("ORDERS") == answers.total()
