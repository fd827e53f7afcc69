"""A server that stores nothing: its disk was full, and it refuses until it is restarted. Who records there says so."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jetmesh.common.ports import free_port
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.storing import Storing
from jetmesh.operate.doctor import CheckContext, Grade, run_checks
from jetmesh.operate.findings import Finding
from jetmesh.service import Service
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from tests.support.jobs import Asked, Finished


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Small(Broker):
    """A broker on that disk, which it believes to be large, with a monitoring port."""

    def __init__(self, disk: Path) -> None:
        self.monitor = free_port()
        self._filler = disk / "filler"
        settings = disk / "nats-server.conf"
        settings.write_text("jetstream {max_file_store: 100GB}\n")
        super().__init__(disk / "broker", "-m", str(self.monitor), "-c", str(settings))

    def fill(self) -> None:
        """Somebody else writes the disk full."""
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4_096))

    def make_room(self) -> None:
        """And takes it away."""
        self._filler.unlink()


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="only root mounts a small disk")
async def test_a_disk_that_was_full_is_told_until_the_server_is_restarted(disk: Path, finishing: Service) -> None:
    with Small(disk) as broker:
        async with LocalMesh([finishing], (), {"NATS_URL": broker.url, "JETMESH_ACK_WAIT_SECONDS": "1"}) as mesh:
            replica = await mesh.start(finishing)
            await mesh.record(Asked(job_id="j-0"))
            await mesh.recorded(Finished, "j-0")
            broker.fill()
            await _fail_to_store(mesh)
            broker.make_room()
            await mesh.record(Asked(job_id="j-1"))
            await until(lambda: "the broker has stored nothing on work.>" in replica.health.why_not, 30)
            assert "a write error lasts until it is restarted" in replica.health.why_not
            context = CheckContext(
                mesh.context.connection, [finishing], mesh.settings, f"http://127.0.0.1:{broker.monitor}"
            )
            wrong = {f.topic: f async for f in run_checks(context) if f.grade is Grade.WRONG}
            assert "write error" in wrong["storing"].found
            assert "restart the server" in wrong["storing"].fix
            assert "stored nothing" in wrong["services"].found
            broker.restart()
            await until(lambda: not replica.health.why_not, 20)
            await mesh.recorded(Finished, "j-1")


async def _fail_to_store(mesh: LocalMesh) -> None:
    """Publish to the service's stream until the server has met the end of its disk."""
    with suppress(Unavailable):
        for number in range(50):
            await mesh.context.publisher.record(Message(f"work.noted.n-{number}", os.urandom(100_000), {}))
    assert mesh.context.publisher.storing


async def test_a_full_stream_is_remarked_and_no_reason_to_be_not_ready(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing)
    health = mesh.replicas[0].health
    info = await api.request(mesh.context.connection, "STREAM.INFO.WORK")
    await _edit(mesh, info, 10)
    await mesh.record(Asked(job_id="j-1"))
    await until(lambda: "maximum bytes exceeded (10077)" in health.remarks().get("work", ""))
    assert health.why_not == ""
    await _edit(mesh, info, -1)
    await mesh.recorded(Finished, "j-1")
    await until(lambda: not health.remarks())


async def _edit(mesh: LocalMesh, info: dict[str, dict[str, object]], max_bytes: int) -> None:
    config = {**info["config"], "max_bytes": max_bytes}
    await api.request(mesh.context.connection, "STREAM.UPDATE.WORK", config, strict=True)


def test_what_failed_long_ago_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is sent nothing while it is not ready would stay so."""
    storing = Storing()
    storing.failed("work.finished.j-1", "it does not answer")
    assert storing.trouble({"work"}).endswith("it does not answer")
    assert storing.trouble({"jobs"}) == ""
    monkeypatch.setattr("jetmesh.jetstream.storing.FRESH_SECONDS", 0.0)
    assert storing.trouble({"work"}) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the open files of another process")
async def test_a_server_that_is_out_of_open_files_is_told_and_not_taken_for_an_empty_one(
    tmp_path: Path, finishing: Service
) -> None:
    with Broker(tmp_path / "broker", "-m", str(port := free_port())) as broker:
        async with LocalMesh([finishing], (), {"NATS_URL": broker.url}) as mesh:
            await mesh.start(finishing)
            open_files = len(os.listdir(f"/proc/{broker.pid}/fd"))
            resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (open_files, open_files))
            for number in range(20):
                await mesh.record(Asked(job_id=f"j-{number}"))
            wrong = await _wrong_of(
                CheckContext(mesh.context.connection, [finishing], mesh.settings, f"http://127.0.0.1:{port}")
            )
            assert "http://127.0.0.1" in wrong["storing"].found
            assert "has WORK_TIMERS/work-due, and can't read it" in wrong["topology"].found
            assert "open files" in wrong["topology"].fix
            assert "apply" not in wrong["topology"].fix


async def _wrong_of(context: CheckContext) -> dict[str, Finding]:
    return {f.topic: f async for f in run_checks(context) if f.grade is Grade.WRONG}
