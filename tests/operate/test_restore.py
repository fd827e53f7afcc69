"""A restore takes out what lies behind the cut, whatever an operator has set at the streams."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.operate.audit import AppAudit
from jetmesh.operate.backup import manifest
from jetmesh.operate.backup.restore import Restoring
from jetmesh.operate.backup.take import Taking
from jetmesh.operate.books import Books
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, desk, work
from tests.support.versions import OLDER

JOBS = 3


async def run(broker: Broker, *arguments: str, status: int = 0) -> str:
    """Run a command on this broker."""
    runner = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": "tests.support.versions:OLDER"})
    done = await asyncio.to_thread(runner.invoke, commands, arguments)
    assert done.exit_code == status, f"{done.output}{done.exception}"
    return done.output


async def info_of(broker: Broker, stream: str) -> Any:
    """STREAM.INFO of another broker."""
    connection = Connection()
    await connection.open(broker.url, "test")
    try:
        return await api.request(connection, f"STREAM.INFO.{stream}", strict=True)
    finally:
        await connection.close()


def cut_after(folder: Path, sequence: int) -> None:
    """Let the backup's cut through the jobs be there."""
    told = manifest.read(folder)
    cut = told.streams["JOBS"].model_copy(update={"kept": sequence})
    manifest.write(folder, told.model_copy(update={"streams": {**told.streams, "JOBS": cut}}))


async def backed_up(mesh_of: MeshOf, broker: Broker, folder: Path, **edited: Any) -> LocalMesh:
    """A mesh of some jobs, whose stream an operator has edited, and its backup."""
    mesh = await mesh_of(*OLDER, start=False)
    for number in range(JOBS):
        await mesh.record(Asked(job_id=f"j-{number}"))
    info = await api.request(mesh.context.connection, "STREAM.INFO.JOBS", strict=True)
    await api.request(mesh.context.connection, "STREAM.UPDATE.JOBS", {**info["config"], **edited}, strict=True)
    await run(broker, "backup", str(folder))
    return mesh


async def test_a_stream_that_lets_nobody_delete_is_cut_all_the_same(
    mesh_of: MeshOf, broker: Broker, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    await backed_up(mesh_of, broker, folder, sealed=True, deny_delete=True, deny_purge=True)
    cut_after(folder, 1)
    with Broker(tmp_path / "other") as other:
        await run(other, "restore", str(folder))
        info = await info_of(other, "JOBS")
    assert info["state"]["messages"] == 1
    assert (info["config"]["deny_delete"], info["config"]["deny_purge"]) == (True, True)


async def test_a_restore_goes_on_where_messages_are_taken_out_already(
    mesh_of: MeshOf, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier run took them out, or they were gone when the snapshot was taken."""
    folder = tmp_path / "backup"

    def refuse(_: Books) -> Iterator[str]:
        """nothing is wrong"""
        yield "something is wrong"

    await backed_up(mesh_of, broker, folder)
    cut_after(folder, 1)
    with Broker(tmp_path / "other") as other:
        with monkeypatch.context() as patched:
            patched.setattr("jetmesh.app.added", lambda *_: [AppAudit(restored=[refuse])])
            await run(other, "restore", str(folder), status=1)
        await run(other, "restore", str(folder))
        assert (await info_of(other, "JOBS"))["state"]["messages"] == 1


async def test_a_backup_that_is_older_than_a_stream_keeps_its_messages_is_restored(
    mesh_of: MeshOf, broker: Broker, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    mesh = await backed_up(mesh_of, broker, folder, max_age=2_000_000_000, duplicate_window=2_000_000_000)

    async def is_empty() -> bool:
        return await mesh.count("JOBS") == 0

    await mesh.until(is_empty, what="the messages are too old")
    with Broker(tmp_path / "other") as other:
        await run(other, "restore", str(folder))
        assert (await info_of(other, "JOBS"))["config"]["max_age"] == 2_000_000_000


async def test_a_check_says_the_same_as_json_and_names_what_is_wrong(
    mesh_of: MeshOf, broker: Broker, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    await backed_up(mesh_of, broker, folder)
    told = json.loads(await run(broker, "restore", "--check", "--json", str(folder)))
    assert (told["folder"], told["streams"]["JOBS"]) == (str(folder), JOBS)
    file = folder / manifest.FILE
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(manifest.BackupError, match=r"manifest.json: format: Input should be 1; .* with its jetmesh"):
        manifest.read(folder)


async def test_a_durable_that_was_to_begin_at_a_time_goes_on_behind_what_it_has_settled(
    mesh_of: MeshOf, tmp_path: Path
) -> None:
    service, begun = work(), list[str]()

    @service.begins(since=datetime(2026, 1, 1, tzinfo=UTC))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        begun.append(asked.job_id)
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(desk(), service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    connection, folder = mesh.context.connection, tmp_path / "backup"
    await Taking(connection, mesh.services, {}, folder, lambda _: None).run()
    for stream in await api.stream_names(connection):
        await api.request(connection, f"STREAM.DELETE.{stream}", strict=True)
    await Restoring(connection, mesh.services, mesh.settings, folder, lambda _: None).run(nothing_is_wrong)
    await mesh.record(Asked(job_id="j-2"))
    await mesh.recorded(Finished, "j-2")
    assert begun == ["j-1", "j-2"]


async def nothing_is_wrong() -> list[str]:
    return []
