"""The programs of examples/java on the real mesh, each with the account of its team: a partner who places an order, and
a consumer of confirmed orders."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from jetmesh.contracts import outside, package
from jetmesh.operate.deployment import needed
from jetmesh.runtime.context import connect
from jetmesh.settings import Settings, read
from jetmesh.testing import Broker, MeshOf
from jetmesh.testing.simulation.world import UNTRACED
from jetmesh.topology import accounts, nkeys, provision
from jetmesh_shop.flow import SERVICES
from tests.mesh.whole import Whole, whole_mesh
from tests.support.programs import ROOT, program

SOURCES = sorted((ROOT / "examples/java").rglob("*.java"))
SECONDS = 60.0


class Said(NamedTuple):
    """What a program printed, and how it ended."""

    status: int
    out: list[str]
    err: str


@pytest.fixture(scope="session")
def java_classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the compiled programs."""
    jars = ROOT / ".tools/bin/jnats"
    if not jars.is_dir():
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no jnats; `just tools jnats` fetches it with Maven")
    folder = tmp_path_factory.mktemp("java")
    javac = [program("javac", "javac"), "-Xlint:all,-try", "-Werror", "--release", "17", "-d", str(folder)]
    done = subprocess.run([*javac, "-cp", f"{jars}/*", *map(str, SOURCES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return f"{folder}{os.pathsep}{jars}/*"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The keys of all users, as `jetmesh topology permissions` makes them."""
    return tmp_path / "keys"


@pytest.fixture
def nats_broker(tmp_path: Path, folder: Path) -> Iterator[Broker]:
    """A broker with an account for each service and each team outside."""
    outsiders = outside.users(SERVICES)
    keys = nkeys.ensure(folder, nkeys.users(SERVICES, outsiders=outsiders))
    part = accounts.with_outsiders(accounts.part_of("", SERVICES, keys), outsiders, keys)
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged([part]))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


@pytest.fixture
async def whole(
    nats_broker: Broker, mesh_of: MeshOf, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Whole]:
    """All services at work, and the durables of the teams outside."""
    seed = str(nkeys.seed_file(folder, "operator"))
    async with whole_mesh(partial(mesh_of, JETMESH_NATS_NKEY_SEED=seed), tmp_path, monkeypatch) as whole:
        told = {"NATS_URL": nats_broker.url, "JETMESH_NATS_NKEY_SEED": seed}
        async with connect(read(Settings, told), UNTRACED, "operator") as context:
            await provision.apply(
                context.connection, await provision.plan(context.connection, needed(SERVICES, Settings()))
            )
        yield whole


async def java(classes: str, name: str, *arguments: str | Path) -> Said:
    """Run a program of the example."""
    command = [str(shutil.which("java")), "-cp", classes, f"com.example.{name}", *map(str, arguments)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Said(process.returncode or 0, out.decode().splitlines(), err.decode())


def order(tmp_path: Path, order_id: str, **changes: object) -> Path:
    """A file with the order of the contract's example."""
    contracts = package.load("jetmesh_contracts")
    body = {**contracts.examples("orders.placed")[0], "order_id": order_id, **changes}
    file = tmp_path / f"{order_id}.json"
    file.write_text(json.dumps(body))
    return file


async def test_a_partner_orders_and_a_consumer_reads_what_was_confirmed(
    java_classes: str, nats_broker: Broker, folder: Path, whole: Whole, tmp_path: Path
) -> None:
    seeds = {team: nkeys.seed_file(folder, team) for team in ("marketplace", "fulfilment")}
    body = order(tmp_path, "o-java")
    placed = await java(
        java_classes, "PlaceOrder", nats_broker.url, "marketplace", seeds["marketplace"], "o-java", body
    )
    assert (placed.status, placed.out[0]) == (0, "stored INTAKE"), placed
    kind, _, recorded = placed.out[1].partition(" ")
    assert (kind, json.loads(recorded)["order_id"]) == ("orders.placed", "o-java")

    packed = await java(
        java_classes, "PackOrders", nats_broker.url, "fulfilment", seeds["fulfilment"], "fulfilment-pack", "1"
    )
    assert packed.status == 0, packed
    assert packed.out[0].startswith("orders.confirmed o-java trace ")
    assert await whole.ended("o-java") == {"o-java": "confirmed"}


async def test_a_partner_learns_that_an_order_is_refused(
    java_classes: str, nats_broker: Broker, folder: Path, whole: Whole, tmp_path: Path
) -> None:
    body = order(tmp_path, "o-refused", currency="CHF")
    seed = nkeys.seed_file(folder, "marketplace")
    said = await java(java_classes, "PlaceOrder", nats_broker.url, "marketplace", seed, "o-refused", body)
    assert said.out[1].startswith("orders.refused "), said


async def test_no_team_does_what_is_anothers(
    java_classes: str, nats_broker: Broker, folder: Path, whole: Whole, tmp_path: Path
) -> None:
    body, url = order(tmp_path, "o-denied"), nats_broker.url
    fulfilment, marketplace = (nkeys.seed_file(folder, team) for team in ("fulfilment", "marketplace"))
    placed, packed = await asyncio.gather(
        java(java_classes, "PlaceOrder", url, "fulfilment", fulfilment, "o-denied", body),
        java(java_classes, "PackOrders", url, "marketplace", marketplace, "fulfilment-pack", "1"),
    )
    assert placed.status != 0
    assert 'Permissions Violation for Publish to "orders.placed"' in placed.err
    assert packed.status != 0
    assert "Permissions Violation for Publish" in packed.err
