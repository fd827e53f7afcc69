"""The connection for programs without a loop: from many threads, through a fork, to the end of the interpreter."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

import jetmesh
from jetmesh import Taken, Unavailable
from jetmesh.event import INTAKE
from jetmesh.jetstream.headers import TRACEPARENT
from jetmesh.testing import Broker, MeshOf
from tests.support.jobs import Asked, Dropped, desk

ROOT = Path(__file__).resolve().parents[2]

LEFT_OPEN = """
import jetmesh
from tests.support.jobs import Asked
mesh = jetmesh.connect_sync()
print(type(mesh.publish(Asked(job_id="j-1"))).__name__)
"""
FORKED = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # the interpreter's, about any fork beside a thread
import jetmesh
from tests.support.jobs import Asked
mesh = jetmesh.connect_sync()
mesh.publish(Asked(job_id="j-parent"))
if (child := os.fork()) == 0:
    mesh.publish(Asked(job_id="j-child"))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
mesh.publish(Asked(job_id="j-parent-again"))
"""


async def ran(program: str, broker: Broker) -> str:
    """What a program prints; it must end by itself, without a word of complaint."""
    environment = {**os.environ, "NATS_URL": broker.url, "PYTHONWARNINGS": "error"}

    def run() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=ROOT
        )

    done = await asyncio.to_thread(run)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


async def test_many_threads_use_one_connection_each_in_its_own_trace(mesh_of: MeshOf, nats_broker: Broker) -> None:
    local = await mesh_of(desk(), start=False)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("program")
    traces: dict[str, int] = {}

    def publish(number: int) -> bool:
        with tracer.start_as_current_span("request") as span:
            traces[f"j-{number}"] = span.get_span_context().trace_id
            return isinstance(mesh.publish(Asked(job_id=f"j-{number}")), Taken)

    def publish_all() -> list[bool]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(publish, range(64)))

    with jetmesh.connect_sync(nats_broker.url) as mesh:
        assert all(await asyncio.to_thread(publish_all))
    page = await local.context.direct_get.page(INTAKE, "jobs.asked", 1, 100)
    stored = {str(message.document["job_id"]): message.headers[TRACEPARENT] for message in page.messages}
    assert {key: int(parent[3:35], 16) for key, parent in stored.items()} == traces


async def test_a_program_that_closes_nothing_ends(mesh_of: MeshOf, nats_broker: Broker) -> None:
    local = await mesh_of(desk())
    assert await ran(LEFT_OPEN, nats_broker) == "Taken\n"
    await local.recorded(Asked, "j-1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_the_child_of_a_fork_has_a_connection_of_its_own(mesh_of: MeshOf, nats_broker: Broker) -> None:
    local = await mesh_of(desk())
    await ran(FORKED, nats_broker)
    for key in ("j-parent", "j-child", "j-parent-again"):
        await local.recorded(Asked, key)


def test_an_error_is_the_callers(nats_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with jetmesh.connect_sync(nats_broker.url) as mesh, pytest.raises(TypeError, match="only jobs records"):
        mesh.publish(Dropped(job_id="j-1"))
    monkeypatch.setenv("JETMESH_CONNECT_SECONDS", "0.2")
    nats_broker.kill()
    with pytest.raises(Unavailable, match="NATS_URL"):
        mesh.publish(Asked(job_id="j-1"))


async def test_a_close_in_the_midst_of_a_call_ends_it(mesh_of: MeshOf, nats_broker: Broker) -> None:
    local = await mesh_of(desk(), start=False)  # nobody decides about what is published
    mesh = jetmesh.connect_sync(nats_broker.url)
    calling = asyncio.create_task(asyncio.to_thread(mesh.publish, Asked(job_id="j-1"), wait_seconds=3600))
    await local.until(lambda: local.count(INTAKE), what="it is published")
    await asyncio.to_thread(mesh.close)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(calling, 10)
    assert isinstance(await asyncio.to_thread(mesh.publish, Asked(job_id="j-2")), Taken)
    await asyncio.to_thread(mesh.close)


async def test_what_was_recorded_is_read(mesh_of: MeshOf, nats_broker: Broker) -> None:
    local = await mesh_of(desk())
    for number in range(3):
        await local.record(Asked(job_id="j-1", effort=number + 1))

    def read() -> tuple[list[int], int]:
        with jetmesh.connect_sync(nats_broker.url) as mesh:
            page = mesh.read("j-1", Asked, after=1, limit=1)
        return [Asked.read(each.data).effort for each in page.events], page.left

    assert await asyncio.to_thread(read) == ([2], 1)
