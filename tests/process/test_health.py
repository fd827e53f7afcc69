"""Whether a service lives and is ready, over HTTP and as a NATS micro service; and a stop that loses nothing."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from jetmesh.runtime.crash_guard import CHANCES
from jetmesh.testing import Broker, MeshOf, until
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.inventory.service import inventory
from tests.support.jobs import Asked, Finished
from tests.support.samples import body

Popen = subprocess.Popen[bytes]
Start = Callable[..., Popen]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def start(broker: Broker, tmp_path: Any) -> Iterator[Start]:
    """Starts `jetmesh run` as a process of its own."""
    processes: list[Popen] = []

    def run(*services: str, app: str = "jetmesh_shop.flow:SERVICES", **environment: str) -> Popen:
        command = [sys.executable, "-c", "from jetmesh.commands import main; main()", "run", *services, "--app", app]
        settings = {"NATS_URL": broker.url, "JETMESH_STATE": str(tmp_path), **environment}
        processes.append(subprocess.Popen(command, env={**os.environ, **settings}))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


def get(port: int, path: str) -> tuple[int, dict[str, str]]:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
    except httpx.TransportError:
        return 0, {}
    return answer.status_code, answer.json()


async def ended(process: Popen) -> int:
    await until(lambda: process.poll() is not None, 30, "the process ends")
    return process.returncode


async def test_a_process_lives_at_once_and_is_ready_when_it_works(
    mesh_of: MeshOf, start: Start, broker: Broker
) -> None:
    port = free_port()
    process = start("inventory", JETMESH_HEALTH_PORT=str(port))
    await until(lambda: get(port, "/livez") == (200, {"status": "alive"}), 30)
    status, why = get(port, "/readyz")
    assert (status, why["status"]) == (503, "not ready")
    await mesh_of(*SERVICES, start=False)
    await until(lambda: get(port, "/readyz") == (200, {"status": "ready"}))
    assert get(port, "/elsewhere")[0] == 404
    broker.kill()
    await until(lambda: get(port, "/readyz")[1].get("inventory") == "not connected to the broker")
    assert get(port, "/livez")[0] == 200
    broker.start()
    await until(lambda: get(port, "/readyz")[0] == 200, 30)
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_still_waits_stops_at_once(start: Start, number: int) -> None:
    port = free_port()
    process = start("inventory", JETMESH_HEALTH_PORT=str(port))
    await until(lambda: "topology" in get(port, "/readyz")[1].get("inventory", ""), 30)
    process.send_signal(number)
    assert await ended(process) == 0


async def test_a_wrong_setting_ends_the_process_with_its_name(broker: Broker) -> None:
    command = [sys.executable, "-c", "from jetmesh.commands import main; main()", "run", "inventory"]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "JETMESH_SLOTS": "many"}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"jetmesh: settings: JETMESH_SLOTS: " in said
    assert b"Traceback" not in said


async def test_no_broker_is_one_line_and_exit_1(start: Start) -> None:
    process = start("inventory", NATS_URL=f"nats://127.0.0.1:{free_port()}", JETMESH_CONNECT_SECONDS="0.5")
    assert await ended(process) == 1


async def test_a_stop_in_the_middle_loses_nothing_and_gives_back_at_once(mesh_of: MeshOf, start: Start) -> None:
    """200 orders; the first process is told to stop while it works, a second takes over before the ack wait ends."""
    mesh = await mesh_of(*SERVICES, start=False)
    for number in range(200):
        await mesh.publish("orders.placed", body(f"o-{number}"))
    first = start("orders", JETMESH_SLOTS="20")

    async def some() -> bool:
        return await mesh.count("ORDERS") > 20

    await until(some, 30)
    first.send_signal(signal.SIGTERM)
    assert await ended(first) == 0
    second = start("orders")
    await mesh.publish("orders.placed", body("o-200"))

    async def all_of_them() -> bool:
        return await mesh.count("ORDERS") >= 201

    await until(all_of_them, 20)
    second.send_signal(signal.SIGTERM)
    assert await ended(second) == 0
    assert await mesh.count("ORDERS") == 201
    assert await mesh.dead_letters() == []


KILLER = '''
import os
from jetmesh import Retry, Service
from tests.support.jobs import Asked, Finished

work = Service("work")

@work.begins(retry=Retry(attempts=2))
async def finish(asked: Asked) -> Finished:
    """Some jobs kill the process that does them."""
    if asked.job_id == "poison":
        os._exit(9)
    return Finished(job_id=asked.job_id)

SERVICES = (work,)
'''


async def test_a_delivery_that_kills_its_process_ends_in_the_dead_letters(
    mesh_of: MeshOf, start: Start, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    monkeypatch.syspath_prepend(tmp_path)
    import killer  # type: ignore[import-not-found]

    mesh = await mesh_of(killer.work, start=False, JETMESH_ACK_WAIT_SECONDS="1")
    await mesh.record(Asked(job_id="poison"))
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    settings = {"app": "killer:SERVICES", "PYTHONPATH": path, "JETMESH_ACK_WAIT_SECONDS": "1"}
    for _ in range(2 + CHANCES):
        assert await ended(start("work", **settings)) == 9
    last = start("work", **settings)
    (letter,) = await mesh.dead_letters(1, 30)
    assert letter.headers["Jetmesh-Reason"] == f"still not handled after {2 + CHANCES} deliveries"
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    assert last.poll() is None


async def test_every_service_answers_as_a_micro_service(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(inventory)
    ask = mesh.context.connection.ask
    about = json.loads(await ask("$SRV.INFO.inventory", b""))
    assert (
        about["description"]
        == "Put the goods of an order aside when it is placed, and back when it is cancelled; count what arrives."
    )
    assert about["metadata"]["shelve"].startswith(
        "orders.placed, orders.cancelled, stock.restocked -> inventory.reserved"
    )
    assert json.loads(await ask("jetmesh.inventory.health", b"")) == {"ready": True, "reason": ""}
    stats = json.loads(await ask("$SRV.STATS.inventory", b""))
    assert {endpoint["name"] for endpoint in stats["endpoints"]} == {"health", "reactions"}
