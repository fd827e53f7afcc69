"""The parts of the benchmark at tiny sizes: what they measure, without saying how fast it is."""

import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from benchmarks import bulk, hop, latency, meshes, overload, quiet, runtimes, servers, shared_core, stored, workload
from benchmarks.__main__ import ALONE, PARTS, Size, main, measure
from benchmarks.figures import Row
from benchmarks.hop import Contender
from benchmarks.meshes import Running
from benchmarks.progress import Missing, Step
from benchmarks.quiet import Snapshot
from benchmarks.receiver import Receiver
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import Nats
from jetmesh.testing import until
from jetmesh_shop.orders.service import orders
from tests.support.programs import program

ORDERS = 6
SIZE = Size(rounds=1, messages=1, orders=1, backlog=1, stored=1, seconds=1.0)


@asynccontextmanager
async def small_mesh() -> AsyncIterator[Running]:
    """All five services in one process, and shelves that are full."""
    skus = workload.articles(2)
    with Receiver() as receiver:
        async with meshes.jetmesh(receiver.url, skus=skus, sync=servers.DEFAULT_SYNC) as running:
            meshes.start_together(running)
            await running.pulled()
            await meshes.fill_shelves(running, workload.restocks(skus))
            yield running


async def require_copies(running: Running, models: stored.Models, count: int) -> None:
    """Each copy is the models' stories under keys of its own: subjects, headers, bodies and their order."""
    for stream, story in models.items():
        found = await stream_reader.read(running.client.connection, stream)
        for number in range(count):
            prefix = f"o-copy-{number:06}-"
            copies = [message for message in found if message.key.startswith(prefix)]
            assert [as_model(message, prefix) for message in copies] == [as_model(message) for message in story]


def as_model(message: Stored, prefix: str = stored.MODEL) -> tuple[str, dict[str, str], bytes]:
    """What a message says, under the key of its model."""
    own = {name: value for name, value in message.headers.items() if not name.startswith(Nats.PREFIX)}
    headers = {name: value.replace(prefix, stored.MODEL) for name, value in own.items()}
    body = message.data.replace(prefix.encode(), stored.MODEL.encode())
    return message.subject.replace(prefix, stored.MODEL), headers, body


async def test_a_mesh_in_one_process_is_measured_audited_copied_and_its_broker_restarted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with small_mesh() as running:
        running.processes.start("busy", shared_core.__name__, "60")
        paced = await latency.at_rate(running, "paced", 20.0, ORDERS / 20.0)
        assert len(paced.milliseconds) == ORDERS
        assert min(paced.milliseconds) > 0
        assert paced.cpu_micros >= 0
        await until(lambda: running.processes.cpu_seconds()["busy"] > 0, 60.0)
        running.processes.stop("busy")
        drained = await running.take(list(workload.good_orders("model", ORDERS, workload.articles(2))))
        assert list(drained.memory_bytes) == [meshes.TOGETHER]
        assert await overload.offences(running) == 0
        assert await running.waiting() == 0
        models = {stream: await stored.models(running, stream) for stream in stored.STREAMS}
        assert all(models[stream] for stream in ("ORDERS", "PAYMENTS", "INVENTORY", "NOTIFICATIONS"))
        running.processes.stop(*running.processes)
        monkeypatch.setattr(stored, "MODELS", ORDERS)
        async with stored.unsynced(running):
            await stored.copy(running, models, already=0, stored=3 * ORDERS)
        await require_copies(running, models, 3)
        rest = await stored.rest(running)
        assert rest.memory_bytes > 0
        async with meshes.connected(running.broker.url) as client:
            copied = await client.story(orders, "o-copy-000002-0")
        assert copied


async def test_messages_in_bulk_are_stored_in_their_order_and_a_refusal_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 3)
    frames = [bulk.Frame(f"bulk.{n}", b"NATS/1.0\r\nn: 1\r\n\r\n", f"body {n}".encode()) for n in range(20)]
    with servers.broker(servers.ALWAYS) as broker:
        with pytest.raises(RuntimeError, match="the broker refused messages in bulk: HMSG"):
            await bulk.publish(broker.url, "test", bulk.chunks("test", frames))
        async with meshes.connected(broker.url) as client:
            config = {
                "name": "BULK",
                "subjects": ["bulk.*"],
                "storage": "file",
                "max_msg_size": 40,
                "allow_direct": True,
            }
            await request(client.connection, "STREAM.CREATE.BULK", config, strict=True)
            await bulk.publish(broker.url, "test", bulk.chunks("test", frames))
            found = await stream_reader.read(client.connection, "BULK")
        assert [message.data for message in found] == [frame.body for frame in frames]
        large = bulk.Frame("bulk.large", b"NATS/1.0\r\n\r\n", bytes(50))
        with pytest.raises(RuntimeError, match="message size exceeds maximum allowed"):
            await bulk.publish(broker.url, "test", bulk.chunks("test", [large]))


def test_an_overload_is_over_with_the_first_order_from_which_on_neighbours_are_fast() -> None:
    clicks = {f"o-{n}": 100.0 + n for n in range(60)}
    fast = dict.fromkeys(clicks, 5.0)

    def seconds(**late: float) -> float:
        found = fast | {name.replace("_", "-"): each for name, each in late.items()}
        return overload.seconds_until_normal(clicks, found, 10.0, neighbours=20)

    assert seconds() == 0.0
    assert seconds(o_7=90.0, o_40=90.0) == 0.0, "one of twenty may be late"
    assert seconds(o_7=90.0, o_9=90.0) == 8.0
    assert seconds(o_58=90.0, o_59=10.1) == math.inf
    assert overload.seconds_until_normal(clicks, {"o-0": 5.0}, 10.0, neighbours=20) == math.inf, "lost is late"


def test_who_is_busy_stops_by_itself() -> None:
    began = time.monotonic()
    shared_core.stay_busy(0.05)
    assert time.monotonic() - began >= 0.05


def test_a_contender_is_a_module_of_some_python_or_a_program() -> None:
    ours = Contender("jetmesh", "jetmesh", False, 1, hop.mesh_headers)
    assert ours.command == [sys.executable, "-m", "benchmarks.contenders", "jetmesh"]
    other = Contender("natsio", "natsio", False, 1, hop.peer_headers, python="/opt/python3.13")
    assert other.command == ["/opt/python3.13", "-m", "benchmarks.contenders", "natsio"]
    program = Contender("watermill", "Watermill", False, 1, runtimes.watermill_headers, program="/bin/watermill")
    assert program.command == ["/bin/watermill"]
    assert program.headers(7, "o-7")["_watermill_message_uuid"] == program.headers(7, "o-7")["Nats-Msg-Id"] == "m7"


async def test_a_contender_in_go_takes_the_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    watermill = program("watermill")
    monkeypatch.setenv("WATERMILL_HANDLERS", "4")
    contender = Contender("watermill", "Watermill", False, 20, runtimes.watermill_headers, program=watermill)
    with servers.broker(servers.DEFAULT_SYNC) as broker:
        figure = await hop.run_once(hop.Place(broker.url, "", ""), contender)
    assert figure.messages_per_second > 0
    assert figure.memory_bytes > 1_000_000


def test_a_newer_python_is_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, script in (("3.13.0", "echo 3.13.0"), ("3.14.2", "exit 127")):
        python = tmp_path / "versions" / version / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(runtimes.newer()) == [(str(tmp_path / "versions" / "3.13.0" / "bin" / "python"), "3.13.0")]


async def test_a_part_that_finds_nothing_here_is_named_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runtimes, "WATERMILL", tmp_path / "watermill")

    async def breaks(_size: Size, _step: Step) -> list[Row]:
        raise meshes.Late("3 deliveries still wait")

    async def works(_size: Size, step: Step) -> list[Row]:
        step("at work")
        return [Row("chat", "a figure", "jetmesh", 1.0, "ms")]

    monkeypatch.setitem(cast("dict[str, object]", ALONE), "replicas", breaks)
    monkeypatch.setitem(cast("dict[str, object]", ALONE), "chat", works)
    course = await measure(["go", "replicas", "chat"], SIZE)
    assert [(row.what, row.seconds > 0) for row in course.finished()] == [("a figure", True)]
    assert course.has_failed
    assert course.missing == [
        f"go is left out: {tmp_path}/watermill is not there: `just tools watermill` builds it, with Go",
        "replicas has failed: Late: 3 deliveries still wait",
    ]
    with pytest.raises(Missing):
        runtimes.watermill()


@pytest.mark.parametrize("other", ["--write", "--full"])
def test_a_look_at_a_smaller_size_is_not_published(other: str) -> None:
    done = CliRunner().invoke(main, ["--brief", other, "hop"])
    assert done.exit_code == 2
    assert "--brief is for a look: it goes with neither --full nor --write" in done.output


def test_every_part_is_named_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert [part for part in PARTS if f"`{part}`" not in page and f"`just bench {part}`" not in page] == []


def test_processors_that_have_become_slower_are_named(tmp_path: Path) -> None:
    before = Snapshot(0.0, 0.0, 0.0, 0.0, {}, pace=0.010, megahertz=3_000.0)
    assert quiet.disturbances(before, Snapshot(10.0, 0.0, 0.0, 0.0, {}, pace=0.0105, megahertz=2_900.0)) == []
    assert quiet.disturbances(before, Snapshot(10.0, 0.0, 0.0, 0.0, {}, pace=0.013, megahertz=2_400.0)) == [
        "the processor's time for the same work × 1.30", "the processors' frequency × 0.80",
    ]  # fmt: skip
    for number, kilohertz in enumerate((3_000_000, 2_000_000)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{kilohertz}\n")
    assert quiet.megahertz(tmp_path) == 2_500.0
    assert quiet.megahertz(tmp_path / "nothing") == 0.0
    assert 0 < quiet.snapshot().pace < 1


def test_what_runs_below_the_benchmark_all_the_time_disturbs_nothing() -> None:
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE) as process:
        before = quiet.snapshot()
        assert process.stdout
        process.stdout.readline()
        after = quiet.snapshot()
        process.kill()
    assert after.own - before.own >= 0.3


ORPHAN = """
import os, time
if os.fork() == 0:
    while time.process_time() < 0.5: pass
    print(flush=True)
"""
ADOPTS = f"""
import subprocess, sys
from benchmarks import quiet
quiet.adopt_orphans()
before = quiet.snapshot()
subprocess.run([sys.executable, "-c", {ORPHAN!r}], stdout=subprocess.PIPE, check=True)
print(quiet.snapshot().own - before.own)
"""


def test_what_an_orphan_of_the_benchmark_took_is_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", ADOPTS], capture_output=True, text=True, check=True)
    assert float(done.stdout) >= 0.4
