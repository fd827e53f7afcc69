"""A mesh whose broker is behind a leaf node: every call goes to the domain that a setting names, and none to the near
one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jetmesh import NotYet, Permanent, Retry, Service
from jetmesh.common.ports import free_ports
from jetmesh.contracts import registry
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.parquet import Archive
from jetmesh.testing import Broker, LocalMesh
from tests.support.jobs import Asked, Failed, Finished

HUB = """
jetstream: {{domain: hub}}
leafnodes: {{listen: "127.0.0.1:{port}"}}
"""
LEAF = """
jetstream: {{domain: leaf}}
leafnodes: {{remotes: [{{url: "nats://127.0.0.1:{port}"}}]}}
"""


@pytest.fixture
def leaf(tmp_path: Path) -> Iterator[Broker]:
    """A server with streams of its own, joined to a hub."""
    (port,) = free_ports(1)
    for name, text in {"hub": HUB, "leaf": LEAF}.items():
        (tmp_path / f"{name}.conf").write_text(text.format(port=port))
    with (
        Broker(tmp_path / "hub", "-c", str(tmp_path / "hub.conf")),
        Broker(tmp_path / "leaf", "-c", str(tmp_path / "leaf.conf")) as near,
    ):
        yield near


@asynccontextmanager
async def connected(broker: Broker, domain: str) -> AsyncIterator[Connection]:
    """A connection to a server, for the streams of a domain."""
    connection = Connection()
    connection.api_prefix = f"$JS.{domain}.API"
    await connection.open(broker.url, "test")
    try:
        yield connection
    finally:
        await connection.close()


async def streams(broker: Broker, domain: str) -> list[str]:
    """The names of the streams of a domain, once it answers."""
    async with connected(broker, domain) as connection:
        async with asyncio.timeout(20):
            while True:
                try:
                    return sorted((await api.request(connection, "STREAM.NAMES", {}))["streams"] or [])
                except Unavailable:
                    await asyncio.sleep(0.05)


def jetmesh(broker: Broker, *arguments: str, **settings: str) -> str:
    """Run a command as an operator does."""
    environment = {**os.environ, "NATS_URL": broker.url, "JETMESH_APP": "jetmesh_shop.flow:SERVICES", **settings}
    ran = subprocess.run(
        [sys.executable, "-m", "jetmesh", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "setting", [{"JETMESH_NATS_DOMAIN": "hub"}, {"JETMESH_NATS_API_PREFIX": "$JS.hub.API"}], ids=["domain", "prefix"]
)
async def test_a_topology_is_made_in_the_domain_that_is_named(leaf: Broker, setting: dict[str, str]) -> None:
    assert await streams(leaf, "hub") == []
    await asyncio.to_thread(jetmesh, leaf, "topology", "apply", **setting)
    there = await streams(leaf, "hub")
    assert {"ORDERS", "INTAKE", "DEAD_LETTERS", "KV_jetmesh_contracts"} <= set(there)
    assert await streams(leaf, "leaf") == []
    async with connected(leaf, "hub") as connection:
        assert "orders.placed" in await registry.fetch(connection)
        assert len(await registry.history(connection)) == 1
        await registry.publish(connection, {})
    await asyncio.to_thread(jetmesh, leaf, "topology", "plan", **setting)
    await asyncio.to_thread(jetmesh, leaf, "dlq", "list", **setting)
    await asyncio.to_thread(jetmesh, leaf, "contracts", "publish", **setting)


async def test_a_domain_that_is_nowhere_is_named_by_its_setting(leaf: Broker) -> None:
    async with connected(leaf, "nowhere") as connection:
        with pytest.raises(Unavailable, match=r"nobody answers \$JS\.nowhere\.API\..*JETMESH_NATS_DOMAIN"):
            await api.request(connection, "STREAM.NAMES", {})


async def test_services_work_through_a_leaf_node(leaf: Broker, tmp_path: Path) -> None:
    """Pulls, acknowledgements, guards, stories, delayed redeliveries, dead letters, the archive."""
    tries: dict[str, int] = {}
    work = Service("work")

    @work.on(retry=Retry(first_seconds=3, longest_seconds=3))
    async def finish(asked: Asked) -> Finished | Failed:
        """Somebody wants a job done: do it, at the third try if it is hard, or never."""
        tries[asked.job_id] = tries.get(asked.job_id, 0) + 1
        if asked.job_id == "never":
            raise Permanent("it can't be done")
        if asked.effort > 1 and tries[asked.job_id] < 3:
            raise NotYet("it is hard")
        return Finished(job_id=asked.job_id)

    await streams(leaf, "hub")
    environment = {"NATS_URL": leaf.url, "JETMESH_NATS_DOMAIN": "hub"}
    async with LocalMesh([work], [], environment) as mesh:
        await mesh.start(work)
        for job in (Asked(job_id="easy"), Asked(job_id="hard", effort=2), Asked(job_id="never")):
            await mesh.record(job)
        for key in ("easy", "hard"):
            await mesh.recorded(Finished, key, within_seconds=30)
        (letter,) = await mesh.dead_letters(1)
        assert letter.headers["Jetmesh-Reason"] == "it can't be done"
        await mesh.settled()
        info = await api.request(mesh.context.connection, "CONSUMER.INFO.JOBS.work-finish", strict=True)
        assert (info["ack_floor"]["stream_seq"], info["num_redelivered"]) == (3, 0)
        archive = Archive(tmp_path / "archive")
        with archive.held():
            await Job(mesh.context.connection, [work], archive, print).run(datetime.now(UTC))
    assert await streams(leaf, "leaf") == []


async def test_a_backup_is_taken_and_restored_through_a_leaf_node(leaf: Broker, tmp_path: Path) -> None:
    domain, folder = {"JETMESH_NATS_DOMAIN": "hub", "JETMESH_STATE": str(tmp_path / "state")}, str(tmp_path / "backup")
    await streams(leaf, "hub")
    await asyncio.to_thread(jetmesh, leaf, "topology", "apply", **domain)
    async with connected(leaf, "hub") as connection:
        await connection.ask("stock.restocked.r-1", b'{"restock_id": "r-1", "sku": "cola", "quantity": 1}')
        await asyncio.to_thread(jetmesh, leaf, "backup", folder, **domain)
        before = await streams(leaf, "hub")
        for stream in before:
            await api.request(connection, f"STREAM.DELETE.{stream}", strict=True)
        await asyncio.to_thread(jetmesh, leaf, "restore", "--despite-offences", folder, **domain)
        info = await api.request(connection, "STREAM.INFO.INVENTORY", strict=True)
    assert info["state"]["messages"] == 1
    assert set(before) - {"KV_jetmesh_contracts"} <= set(await streams(leaf, "hub"))
    assert await streams(leaf, "leaf") == []
