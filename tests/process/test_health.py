"""Whether a service lives and is ready, over HTTP and as a NATS micro service; and a stop that loses nothing."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from jetmesh.common.ports import free_port
from jetmesh.process import health
from jetmesh.process.health import Health
from jetmesh.testing import Broker, MeshOf, until
from tests.support.jobs import APP, Asked, finishing
from tests.support.processes import Running, running

Start = Callable[..., Running]


@pytest.fixture
def start(broker: Broker, tmp_path: Path) -> Iterator[Start]:
    """Starts the service `work` as a process of its own."""
    with ExitStack() as processes:

        def run(**environment: str) -> Running:
            told = {"NATS_URL": broker.url, **environment}
            return processes.enter_context(running(tmp_path, "work", app=APP, **told))

        yield run


async def test_a_process_lives_at_once_and_is_ready_when_it_works(
    mesh_of: MeshOf, start: Start, broker: Broker
) -> None:
    process = start()
    await until(lambda: process.get("/livez") == (200, {"status": "alive"}), 30)
    status, why = process.get("/readyz")
    assert (status, why["status"]) == (503, "not ready")
    await mesh_of(finishing(), start=False)
    await until(lambda: process.get("/readyz") == (200, {"status": "ready"}))
    assert process.get("/elsewhere")[0] == 404
    broker.kill()
    await until(lambda: process.get("/readyz")[1].get("work") == "not connected to the broker")
    assert process.get("/livez")[0] == 200
    broker.start()
    await until(lambda: process.is_ready, 30)
    process.stop()
    assert await process.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_still_waits_stops_at_once(start: Start, number: int) -> None:
    process = start()
    await until(lambda: "topology" in process.why_not, 30)
    process.stop(number)
    assert await process.ended() == 0


async def test_a_wrong_setting_ends_the_process_with_its_name(broker: Broker) -> None:
    command = [sys.executable, "-c", "from jetmesh.commands import main; main()", "run", "--app", APP]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "JETMESH_SLOTS": "many"}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"jetmesh: settings: JETMESH_SLOTS: " in said
    assert b"Traceback" not in said


async def test_no_broker_is_one_line_and_exit_1(start: Start) -> None:
    process = start(NATS_URL=f"nats://127.0.0.1:{free_port()}", JETMESH_CONNECT_SECONDS="0.5")
    assert await process.ended() == 1
    assert "Traceback" not in process.said


async def test_a_stop_in_the_middle_loses_nothing_and_gives_back_at_once(mesh_of: MeshOf, start: Start) -> None:
    """200 jobs; the first process is told to stop while it works, a second takes over before the ack wait ends."""
    mesh = await mesh_of(finishing(), start=False)
    for number in range(200):
        await mesh.record(Asked(job_id=f"j-{number}"))
    first = start(JETMESH_SLOTS="20")

    async def finished(count: int) -> bool:
        return await mesh.count("WORK") >= count

    await until(lambda: finished(20), 30)
    first.stop()
    assert await first.ended() == 0
    second = start()
    await mesh.record(Asked(job_id="j-200"))
    await until(lambda: finished(201), 20)
    second.stop()
    assert await second.ended() == 0
    assert await mesh.count("WORK") == 201
    assert await mesh.dead_letters() == []


async def test_every_service_answers_as_a_micro_service(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(finishing())
    ask = mesh.context.connection.ask
    about = json.loads(await ask("$SRV.INFO.work", b""))
    assert about["description"] == finishing().meaning
    assert about["metadata"]["finish"].startswith("jobs.asked -> work.finished")
    assert json.loads(await ask("jetmesh.work.health", b"")) == {"ready": True, "reason": ""}
    stats = json.loads(await ask("$SRV.STATS.work", b""))
    assert {endpoint["name"] for endpoint in stats["endpoints"]} == {"health", "reactions"}


async def test_half_sent_probes_keep_no_probe_out() -> None:
    server = await health.serve([Health("work", reason="")], "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    half = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    for _, writer in half:
        writer.write(b"GET /read")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/readyz")).status_code == 200
    await until(lambda: sum(reader.at_eof() or reader.exception() is not None for reader, _ in half) >= 250)
    for _, writer in half:
        writer.close()
    server.close()
