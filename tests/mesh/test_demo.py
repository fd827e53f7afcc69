"""`jetmesh demo` as a person runs it: real processes, a real broker, and everything gone afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from jetmesh.common.http import get
from jetmesh_shop.flow import SERVICES
from tests.support.waiting import wait_until

SECONDS_MAX = 120
OF_A_COURIER = ("delivery.position_reported", "delivery.last_seen")
"""What a courier reports from outside, which has a trace of its own, and what is recorded with it."""


def jetmesh(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "jetmesh", *arguments]


def environment() -> dict[str, str]:
    """Nothing of the caller's mesh: no broker, no collector."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "JETMESH_", "OTEL_"))}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        jetmesh(*arguments), capture_output=True, text=True, timeout=SECONDS_MAX, env=environment(), check=False
    )


@contextmanager
def demo(state: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A demo that is stopped in any case."""
    process = subprocess.Popen(
        jetmesh("demo", "--state", str(state), "--free-ports", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS_MAX)


def endpoints(state: Path, process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Where the demo is, once it says so."""
    path = state / "endpoints.json"
    wait_until(lambda: path.exists() or process.poll() is not None, "endpoints.json")
    assert process.poll() is None, process.communicate()[0]
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def lives(pid: int) -> bool:
    """Whether the process runs; one that ended and whose parent has not looked yet does not."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    if Path("/proc").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def summary(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The one object on standard output."""
    assert done.returncode == 0, done.stderr + done.stdout
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A state folder after sixty orders, and the summary."""
    state = tmp_path_factory.mktemp("demo") / "state"
    done = run("demo", "--state", str(state), "--free-ports", "--orders", "60", "--exit", "--json")
    return state, summary(done)


def test_every_order_ends_once_and_its_trace_is_complete(played: tuple[Path, dict[str, Any]]) -> None:
    _, found = played
    assert found["placed"] == found["complete_traces"] == 60
    assert found["confirmed"] + found["cancelled"] + found["refused"] == 60
    assert min(found["confirmed"], found["cancelled"], found["refused"]) > 0
    troubles = ("pending", "charged_twice", "oversold", "dead_letters", "offences")
    assert [found[name] for name in troubles] == [0, 0, 0, 0, 0]
    assert 0 < found["latency_p50_ms"] <= found["latency_p95_ms"] <= found["latency_p99_ms"]
    assert found["orders_per_second"] == pytest.approx(60 / found["seconds"], rel=0.02)


def test_a_stopped_demo_leaves_its_report_and_no_endpoints(played: tuple[Path, dict[str, Any]]) -> None:
    state, found = played
    assert not (state / "endpoints.json").exists()
    report = json.loads(run("report", "--state", str(state), "--json").stdout)
    assert report["orders"][0]["confirmed"] == found["confirmed"] + 1


def test_all_that_the_demo_keeps_is_for_its_owner_alone(played: tuple[Path, dict[str, Any]]) -> None:
    state, _ = played
    kept = [state, *state.rglob("*")]
    assert {"bank.sqlite", "mail.sqlite", "traces.sqlite", "analytics.duckdb", "orders.log", "nats-server.conf"} <= {
        path.name for path in kept
    }
    assert [str(path) for path in kept if path.lstat().st_mode & 0o077] == []


def test_a_second_start_goes_on_with_the_same_data(played: tuple[Path, dict[str, Any]]) -> None:
    state, before = played
    again = ("demo", "--state", str(state), "--free-ports", "--orders", "5", "--via", "http", "--exit", "--json")
    assert summary(run(*again))["placed"] == 5
    report = json.loads(run("report", "--state", str(state), "--json").stdout)
    placed_or_refused = report["orders"][0]["placed"] + report["orders"][0]["refused"]
    assert placed_or_refused == before["placed"] + 5 + 2
    assert {row["type"]: row["stored"] for row in report["events"]}["stock.restocked"] == 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A demo that goes on, and its state folder."""
    state = tmp_path_factory.mktemp("running") / "state"
    with demo(state) as process:
        endpoints(state, process)
        yield state, process


def test_the_console_shows_the_mesh_at_work(running: tuple[Path, "subprocess.Popen[str]"]) -> None:
    url = endpoints(*running)["console_url"]

    def seen() -> bool:
        page = get(url, SECONDS_MAX).decode()
        return 'data-reaction="payments.authorize" data-state="good"' in page

    wait_until(seen, "the console shows that payments work")


Running = tuple[Path, "subprocess.Popen[str]"]


def test_the_story_of_an_order_is_told_from_outside(running: Running) -> None:
    state, process = running
    assert process.stdout is not None
    first = next(line.split()[0] for line in process.stdout if line.startswith("o-"))
    asked = ("order", first, "--state", str(state))
    wait_until(lambda: "receipt_sent" in run(*asked).stdout, "the story")
    story = json.loads(run(*asked, "--json").stdout)
    assert {event["service"] for event in story["events"]} == {service.name for service in SERVICES if service.records}
    told = [event for event in story["events"] if event["type"] not in OF_A_COURIER]
    assert len({event["trace_id"] for event in told}) == 1
    assert "@example.com" not in json.dumps(story)


def test_an_unknown_order_is_said_to_be_unknown(running: Running) -> None:
    unknown = run("order", "o-nobody", "--state", str(running[0]))
    assert (unknown.returncode, "o-nobody" in unknown.stderr) == (1, True)


def test_the_books_are_audited_while_the_mesh_runs(running: Running) -> None:
    books = wait_until(
        lambda: (found := json.loads(run("audit", "--state", str(running[0]), "--json").stdout))["clean"] and found,
        "clean books",
    )
    assert books["orders"] == {"confirmed": 1, "cancelled": 0, "refused": 0, "pending": 0}
    assert books["stock"]["truffle-special"]["restocked"] == 10


def test_load_goes_in_at_its_rate_and_each_step_is_timed(running: Running) -> None:
    done = run("load", "--rate", "20", "--seconds", "2", "--state", str(running[0]), "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert 30 < steps["promise"]["orders"] == steps["send the receipt"]["orders"] < 40
    assert 0 < steps["promise"]["p50_ms"] <= steps["promise"]["p99_ms"] <= steps["promise"]["p100_ms"]


def test_a_busy_port_is_named_with_what_to_do(running: Running, tmp_path: Path) -> None:
    port = endpoints(*running)["http_url"].rpartition(":")[2]
    other = run("demo", "--state", str(tmp_path), "--free-ports", "--port", f"http={port}")
    assert other.returncode == 1
    assert port in other.stderr
    assert "--free-ports" in other.stderr


def test_a_folder_has_one_demo(running: Running) -> None:
    state, process = running
    other = run("demo", "--state", str(state), "--free-ports")
    assert other.returncode == 1
    assert str(process.pid) in other.stderr


def test_a_process_that_dies_is_started_again(running: Running) -> None:
    before = endpoints(*running)["pids"]["payments"]
    os.kill(before, signal.SIGKILL)
    after = wait_until(lambda: (pid := endpoints(*running)["pids"]["payments"]) != before and pid, "another payments")
    assert lives(after)


def test_a_signal_stops_every_process(running: Running) -> None:
    """The last test of this demo."""
    state, process = running
    pids = endpoints(state, process)["pids"]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, output
    assert not [name for name, pid in pids.items() if lives(pid)]
    assert not (state / "endpoints.json").exists()


def test_what_a_killed_demo_left_running_is_stopped_by_the_next(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with demo(state) as process:
        left = endpoints(state, process)["pids"]
        process.kill()
        process.wait()
    assert lives(left["nats"])
    assert run("audit", "--state", str(state)).returncode == 1, "a crashed demo is no running one"
    summary(run("demo", "--state", str(state), "--free-ports", "--exit", "--json"))
    assert not [name for name, pid in left.items() if lives(pid)]
