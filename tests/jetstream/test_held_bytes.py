"""A process holds bytes as well as messages: large ones come as there is room for them, and none is stuck."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jetmesh.jetstream.pull import Pull
from jetmesh.service import Service
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import APP, SERVICES, Asked, Finished, work
from tests.support.processes import running

MEGABYTE = 980_000
MESSAGES = 500
RSS_MAX = 300 * 1024 * 1024


@pytest.fixture
def held() -> Iterator[list[int]]:
    """What the pulls of this process held at each delivery."""
    seen: list[int] = []
    take = Pull._on_frame

    def watched(pull: Pull, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        take(pull, subject, reply, headers, data)
        seen.append(pull.held_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pull, "_on_frame", watched)
        yield seen


def slow() -> Service:
    """A service that takes its time for each job, so that others pile up."""
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, in a while."""
        await asyncio.sleep(0.005)
        return Finished(job_id=asked.job_id)

    return service


def padded(number: int, size: int) -> bytes:
    return json.dumps({"job_id": f"j-{number}"}).encode().ljust(size)


async def test_large_messages_come_as_there_is_room(mesh_of: MeshOf, held: list[int]) -> None:
    mesh = await mesh_of(slow(), start=False, JETMESH_HELD_BYTES=str(4 << 20))
    for number in range(40):
        await mesh.publish(f"jobs.asked.j-{number}", padded(number, 300_000))
    await mesh.start(mesh.services[0])
    await mesh.until(lambda: _finished(mesh, 40))
    assert 0 < max(held) <= 4 << 20
    await mesh.settled()


async def test_a_message_beyond_the_budget_comes_alone_and_small_ones_go_on(mesh_of: MeshOf, held: list[int]) -> None:
    mesh = await mesh_of(slow(), start=False, JETMESH_HELD_BYTES=str(1 << 20))
    for number in range(60):
        await mesh.publish(f"jobs.asked.j-{number}", padded(number, 900_000 if number % 3 == 0 else 100))
    await mesh.start(mesh.services[0])
    await mesh.until(lambda: _finished(mesh, 60))
    assert max(held) < 2 * 900_000
    await mesh.settled()


async def _finished(mesh: LocalMesh, count: int) -> bool:
    return await mesh.count("WORK") == count


KINDS: dict[str, Callable[[int], bytes]] = {
    "no JSON": lambda _: b"x" * MEGABYTE,
    "a job, padded": lambda number: padded(number, MEGABYTE),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", KINDS)
async def test_five_hundred_messages_of_a_megabyte_keep_a_service_small(
    mesh_of: MeshOf, tmp_path: Path, kind: str
) -> None:
    """The process as it is run, on its own: what a client can make of it."""
    mesh = await mesh_of(*SERVICES, start=False)
    for number in range(MESSAGES):
        await mesh.publish("jobs.asked", KINDS[kind](number))
    with running(tmp_path, "jobs", app=APP, **mesh.environment) as jobs:
        await mesh.until(lambda: _handled(mesh), within_seconds=120)
        assert _most_bytes(jobs.process.pid) < RSS_MAX


async def _handled(mesh: LocalMesh) -> bool:
    return await mesh.count("DEAD_LETTERS") + await mesh.count("JOBS") >= MESSAGES


def _most_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
