"""A backup holds no stream of others; a durable that listens there goes on where the backup has it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.operate.backup import manifest, snapshot
from jetmesh.operate.backup.restore import Restoring
from jetmesh.operate.backup.take import Taking
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.plant import TELEMETRY, Reading, climate

DURABLE = f"CONSUMER.INFO.{TELEMETRY}.climate-read"


async def measured(mesh: LocalMesh, *celsius: float) -> None:
    for each in celsius:
        await mesh.publish("telemetry.eu.plant7.line3.temp", {"celsius": each})
    await mesh.settled()


async def recorded(mesh: LocalMesh, count: int) -> list[float]:
    """What is recorded, once there are so many readings and no more to handle."""

    async def enough() -> bool:
        return len(await mesh.occurrences(Reading, "plant7")) >= count

    await mesh.until(enough, what=f"{count} readings are recorded")
    await mesh.settled()
    return sorted(reading.celsius for reading in await mesh.occurrences(Reading, "plant7"))


async def backed_up(mesh: LocalMesh, folder: Path) -> manifest.Manifest:
    return await Taking(mesh.context.connection, mesh.services, {}, folder, lambda _: None).run()


@asynccontextmanager
async def connected(broker: Broker) -> AsyncIterator[Connection]:
    connection = Connection()
    await connection.open(broker.url, "test")
    try:
        yield connection
    finally:
        await connection.close()


async def nothing_is_wrong() -> list[str]:
    return []


async def run(broker: Broker, *arguments: str) -> str:
    """Run a command on another broker."""
    runner = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": "tests.support.plant:APP"})
    done = await asyncio.to_thread(runner.invoke, commands, arguments)
    assert done.exit_code == 0, f"{done.output}{done.exception}"
    return done.stdout


async def test_what_was_settled_after_the_backup_is_delivered_again(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(climate())
    await measured(mesh, 20.0, 21.0)
    taken = await backed_up(mesh, tmp_path / "backup")
    assert [(each.stream, each.durable, each.sequence) for each in taken.foreign] == [(TELEMETRY, "climate-read", 2)]
    await measured(mesh, 22.0)
    connection = mesh.context.connection
    for stream in await api.stream_names(connection):
        if stream != TELEMETRY:
            await api.request(connection, f"STREAM.DELETE.{stream}", strict=True)
    restoring = Restoring(connection, mesh.services, mesh.settings, tmp_path / "backup", lambda _: None)
    await restoring.run(nothing_is_wrong)
    assert restoring.withheld == []
    start = (await api.request(connection, DURABLE, strict=True))["config"]["opt_start_seq"]
    assert start == 3
    assert await recorded(mesh, 3) == [20.0, 21.0, 22.0]


async def test_a_stream_that_comes_back_later_is_read_from_the_time_that_the_restore_tells(
    mesh_of: MeshOf, tmp_path: Path
) -> None:
    mesh = await mesh_of(climate())
    await measured(mesh, 20.0, 21.0)
    await backed_up(mesh, tmp_path / "backup")
    await measured(mesh, 22.0)
    theirs = await snapshot.save(mesh.context.connection, TELEMETRY, tmp_path / "theirs")
    with Broker(tmp_path / "other") as other:
        (told,) = json.loads(await run(other, "restore", "--json", str(tmp_path / "backup")))["withheld"]
        assert told.startswith(f"{TELEMETRY} is not on this broker: climate-read, which had settled it up to 2, is ")
        async with connected(other) as connection:
            assert TELEMETRY not in await api.stream_names(connection)
            await snapshot.load(connection, theirs.config, theirs.state, tmp_path / "theirs")
            since = told.partition("`jetmesh ")[2].rstrip("`").split()
            await run(other, *since)
            assert (await api.request(connection, DURABLE, strict=True))["config"]["deliver_policy"] == "by_start_time"
        async with LocalMesh([climate()], [], {"NATS_URL": other.url}) as there:
            await there.start(there.services[0])
            assert await recorded(there, 3) == [20.0, 21.0, 22.0]


@pytest.mark.parametrize(
    ("celsius", "why"),
    [((), "ends at 0"), ((30.0,), "ends at 1"), ((30.0, 31.0, 32.0), "has another message at 2")],
    ids=["empty", "shorter", "another"],
)
async def test_another_stream_of_the_same_name_is_not_taken_for_it(
    mesh_of: MeshOf, tmp_path: Path, celsius: Sequence[float], why: str
) -> None:
    mesh = await mesh_of(climate())
    await measured(mesh, 20.0, 21.0)
    await backed_up(mesh, tmp_path / "backup")
    with Broker(tmp_path / "other") as other:
        async with connected(other) as connection:
            config = {"name": TELEMETRY, "subjects": ["telemetry.>"]}
            await api.request(connection, f"STREAM.CREATE.{TELEMETRY}", config, strict=True)
            for each in celsius:
                await connection.ask("telemetry.eu.plant7.line3.temp", json.dumps({"celsius": each}).encode())
            output = await run(other, "restore", str(tmp_path / "backup"))
            assert f"{TELEMETRY} {why}: climate-read" in " ".join(output.split())
            assert await api.request(connection, DURABLE) is None
