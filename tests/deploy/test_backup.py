"""A backup through the nats CLI, restored into an empty broker: the mesh goes on where it was."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetmesh.testing import Broker
from services.reference import mix, placing, stock, stories
from services.reference.endpoints import connected
from tests.programs import ROOT, program, run

WITHIN_SECONDS = 60.0
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "contracts")])


def environment(broker: Broker, folder: Path) -> dict[str, str]:
    """Of a mesh on this broker, whose bank and warehouse are in the folder."""
    return {**os.environ, "PYTHONPATH": PATHS, "NATS_URL": broker.url, "JETMESH_STATE": str(folder),
            "JETMESH_APP": "services.flow:SERVICES"}  # fmt: skip


def jetmesh(broker: Broker, folder: Path, *arguments: str) -> str:
    """What the command prints."""
    return run(sys.executable, "-m", "jetmesh", *arguments, env=environment(broker, folder), cwd=str(ROOT))


@contextmanager
def services(broker: Broker, folder: Path) -> Iterator[None]:
    """The services that an order needs for its confirmation, in one process."""
    names = ("orders", "payments", "inventory")
    process = subprocess.Popen(
        [sys.executable, "-m", "jetmesh", "run", *names], env=environment(broker, folder), stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(35)


async def story(broker: Broker, order_id: str, until: str) -> list[str]:
    """What happened to the order, until this has."""
    told = []
    async with connected(["--server", broker.url]) as mesh:
        async for event in stories.follow(mesh, order_id, WITHIN_SECONDS):
            told.append(event.type)
            if event.type == until:
                break
    return told


async def open_the_shop(broker: Broker) -> None:
    """Something is on the shelf, and one order has been placed."""
    async with connected(["--server", broker.url]) as mesh:
        await stock.seed(mesh)
        await placing.over_nats(mesh, [mix.first("o-before")], lambda: None)


async def place(broker: Broker, order_id: str) -> None:
    """One more order."""
    async with connected(["--server", broker.url]) as mesh:
        await placing.over_nats(mesh, [mix.first(order_id)], lambda: None)


def test_a_restored_mesh_knows_its_orders_and_finishes_those_under_way(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    state = tmp_path / "state"
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with Broker(tmp_path / "first") as broker:
        jetmesh(broker, state, "topology", "apply")
        with services(broker, state):
            asyncio.run(open_the_shop(broker))
            before = asyncio.run(story(broker, "o-before", "payments.captured"))
        asyncio.run(place(broker, "o-under-way"))
        nats = (program("nats"), "--server", broker.url)
        for stream in run(*nats, "stream", "ls", "--names").split():
            run(*nats, "stream", "backup", "--no-progress", stream, str(backup / stream))
    with Broker(tmp_path / "second") as broker:
        nats = (program("nats"), "--server", broker.url)
        for snapshot in sorted(backup.iterdir()):
            run(*nats, "stream", "restore", "--no-progress", str(snapshot))
        assert "streams and durables are as needed" in jetmesh(broker, state, "topology", "plan")
        with services(broker, state):
            under_way = asyncio.run(story(broker, "o-under-way", "payments.captured"))
            assert "payments.captured" in under_way
            assert set(asyncio.run(story(broker, "o-before", "payments.captured"))) == set(before)
