"""A mesh whose broker is behind a leaf node: every call goes to the domain that a setting names, and none to the near
one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jetmesh import NotYet, Permanent, Retry, Service, Snapshot
from jetmesh.common.ports import free_ports
from jetmesh.contracts import deployed, registry
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.parquet import Archive
from jetmesh.testing import Broker, LocalMesh
from tests.support.jobs import Asked, Failed, Finished, Level, Work

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
    connection = Connection(api_prefix=f"$JS.{domain}.API")
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


each_setting = pytest.mark.parametrize(
    "setting", [{"JETMESH_NATS_DOMAIN": "hub"}, {"JETMESH_NATS_API_PREFIX": "$JS.hub.API"}], ids=["domain", "prefix"]
)


@each_setting
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


@each_setting
async def test_two_apps_share_a_domain_that_is_behind_a_leaf_node(leaf: Broker, setting: dict[str, str]) -> None:
    """The registry, its lock and the intake of both are there, and nothing of them is at the near server."""
    assert await streams(leaf, "hub") == []
    for app in ("COUNTER", "KITCHEN", "COUNTER"):
        await asyncio.to_thread(jetmesh, leaf, "topology", "apply", **setting, JETMESH_APP=f"tests.support.teams:{app}")
    async with connected(leaf, "hub") as connection:
        intake = await api.request(connection, "STREAM.INFO.INTAKE", strict=True)
        known = await deployed.fetch(connection)
    assert sorted(intake["config"]["subjects"]) == ["calls.*", "dishes.*"]
    assert {name: each.reads for name, each in known.items()} == {
        "counter": {"dishes.cooked": ("counter.call",)},
        "kitchen": {},
    }
    listed = await asyncio.to_thread(jetmesh, leaf, "contracts", "deployed", **setting)
    assert "counter.call of the app" in listed
    assert await streams(leaf, "leaf") == []


@pytest.mark.parametrize(
    "setting",
    [{"JETMESH_NATS_DOMAIN": "hub"}, {"JETMESH_NATS_API_PREFIX": "$JS.hub.API", "JETMESH_TENANT": "acme"}],
    ids=["domain", "prefix-tenant"],
)
async def test_services_work_through_a_leaf_node(leaf: Broker, tmp_path: Path, setting: dict[str, str]) -> None:
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
    environment = {"NATS_URL": leaf.url, **setting}
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


async def test_a_batch_is_committed_through_a_leaf_node(leaf: Broker) -> None:
    """The snapshot's direct gets, the atomic batch and its guard go to the domain."""
    work = Service("work")

    @work.on_many
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished | Level]:
        """Jobs are asked for: do them together, and count what they cost."""
        stories = await snapshot.stories(Work, Finished, [job.job_id for job in asked])
        levels = await snapshot.latest(Level, ["all"])
        new = [job for job in asked if not stories[job.job_id].finished]
        spent = (levels["all"].spent if "all" in levels else 0) + sum(job.effort for job in new)
        return [*(Finished(job_id=job.job_id) for job in new), Level(name="all", spent=spent)] if new else []

    await streams(leaf, "hub")
    async with LocalMesh([work], [], {"NATS_URL": leaf.url, "JETMESH_NATS_DOMAIN": "hub"}) as mesh:
        for number in range(20):
            await mesh.record(Asked(job_id=f"j-{number}"))
        await mesh.start(work)
        await mesh.settled()
        level = await mesh.recorded(Level, "all")
        assert (level.spent, await mesh.count("WORK")) == (20, 20 + await level_versions(mesh))
    assert await streams(leaf, "leaf") == []


async def level_versions(mesh: LocalMesh) -> int:
    """How many levels are stored."""
    info = await api.request(mesh.context.connection, "STREAM.INFO.WORK", {"subjects_filter": "tally.>"}, strict=True)
    return int(sum(info["state"]["subjects"].values()))


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
