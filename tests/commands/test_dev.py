"""`jetmesh dev`: any app runs on this machine with one command, and other commands find it by its folder."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jetmesh.commands.target import connected_with
from jetmesh.common.http import get
from jetmesh.common.ports import free_port
from jetmesh.contracts.registry import entries
from jetmesh.contracts.releases import NoRelease
from jetmesh.jetstream.message import Message
from jetmesh.local.backing import NONE, Backing, BackingServices
from jetmesh.local.tracing import keeping_spans
from jetmesh.testing import until

HELLO = """
from jetmesh import EventModel, Service, Token

class Greeted(EventModel, type="hello.greeted", owner="hello", key_field="name", from_outside=True):
    name: Token

hello = Service("hello")

@hello.intake
async def greet(greeted: Greeted) -> Greeted:
    return greeted

class ParcelSent(EventModel, type="parcels.sent", owner="parcels", key_field="parcel_id"):
    parcel_id: Token

class ParcelNoted(EventModel, type="notes.noted", owner="notes", key_field="parcel_id"):
    parcel_id: Token

notes = Service("notes")

@notes.on
async def note(sent: ParcelSent) -> ParcelNoted:
    return ParcelNoted(parcel_id=sent.parcel_id)

SERVICES = (hello, notes)
"""
"""An app, one of whose services waits for another app."""
OPERATED = """
import sys

from hello import Greeted
from jetmesh.extend import AppAudit, Backing, BackingServices, Load, Spec, listens

def nobody_is_greeted_in_capitals(books):
    \"\"\"nobody is greeted in capitals\"\"\"
    for event in books.of_type("hello.greeted"):
        if event.body["name"].isupper():
            yield f"{event.key}: {event}"

def greetings(run, count, seed):
    return (Greeted(name=f"{run}-{number}") for number in range(count))

AUDIT = AppAudit(checks=(nobody_is_greeted_in_capitals,))
LOAD = Load(greetings)

def backing(state, ports):
    port = ports["files"]
    server = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    return Backing(processes=[Spec("files", server, listens(port))], urls={"files_url": f"http://127.0.0.1:{port}"})

BACKING = BackingServices(at=backing, ports={"files": 8000})
"""
PROJECT = """
[tool.jetmesh]
app = "hello:SERVICES"
audits = "operated:AUDIT"
loads = "operated:LOAD"
backing_services = "operated:BACKING"
"""
SECONDS_MAX = 60.0


def environment(**more: str) -> dict[str, str]:
    """Nothing of the caller's mesh."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "JETMESH_", "OTEL_"))}
    return {**own, **more}


def jetmesh(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jetmesh", *arguments]
    told = environment(JETMESH_STATE=str(state), JETMESH_APP="hello:SERVICES")
    return subprocess.run(
        command, cwd=state, env=told, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )


def test_an_app_that_keeps_spans_itself_goes_on_doing_so() -> None:
    own = BackingServices(at=lambda _, __: Backing(), ports={"traces": 4318})
    assert keeping_spans(own) is own
    assert set(keeping_spans(NONE).ports) == {"traces"}


def test_what_the_app_tells_its_services_counts() -> None:
    beside = Backing(urls={"traces_url": "a", "more_url": "b"}, environment=lambda _: {"A": "beside", "B": "beside"})
    both = Backing(urls={"more_url": "c"}, environment=lambda name: {"A": name}).over(beside)
    assert both.urls == {"traces_url": "a", "more_url": "c"}
    assert both.environment("orders") == {"A": "orders", "B": "beside"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """An app in a folder, started as a person starts it."""
    for name, text in (("hello.py", HELLO), ("operated.py", OPERATED), ("pyproject.toml", PROJECT)):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "jetmesh", "dev", "--app", "hello:SERVICES", "--state", str(tmp_path), "--port"]
    process = subprocess.Popen(
        [*command, str(free_port())], cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS_MAX)


async def endpoints(state: Path, process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Where the mesh is, once it says so."""
    path = state / "endpoints.json"

    async def said() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return path.exists()

    await until(said, SECONDS_MAX, "endpoints.json is written")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


async def test_an_app_runs_with_one_command_and_is_found_by_its_folder(
    running: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    told = await endpoints(tmp_path, running)
    assert (set(told["health_urls"]), set(told["pids"])) == (
        {"hello", "notes"},
        {"nats", "hello", "notes", "files", "traces"},
    )
    assert get(told["files_url"], SECONDS_MAX)
    assert jetmesh("dlq", "list", state=tmp_path).returncode == 0

    async with connected_with(told["nats_args"]) as mesh:

        async def kept() -> bool:
            with suppress(NoRelease):
                return "hello.greeted" in await entries(mesh.connection)
            return False

        await until(kept, SECONDS_MAX, "the contracts are kept on the broker")
        await mesh.publisher.record(Message("hello.greeted", b'{"name": "ada"}', {}))

    async def told_of_ada() -> bool:
        return "hello.greet " in jetmesh("story", "ada", state=tmp_path).stdout

    await until(told_of_ada, SECONDS_MAX, "the story of ada, with the attempt whose span is kept")
    unknown = jetmesh("story", "bob", state=tmp_path)
    assert (unknown.returncode, "nothing is recorded about bob" in unknown.stderr) == (1, True)

    audited = jetmesh("audit", "--json", state=tmp_path)
    assert audited.returncode == 0, audited.stderr
    found = json.loads(audited.stdout)
    assert (found["clean"], found["types"]) == (True, {"hello.greeted": 1})

    loaded = json.loads(jetmesh("load", "--rate", "20", "--seconds", "0.5", "--json", state=tmp_path).stdout)
    assert loaded["steps"]["click → hello.greeted"]["stories"] == 10

    async with connected_with(told["nats_args"]) as mesh:
        await mesh.publisher.record(Message("hello.greeted", b'{"name": "BOB"}', {}))

    async def offends() -> bool:
        own = jetmesh("audit", state=tmp_path)
        return own.returncode == 1 and "nobody is greeted in capitals: 1\n    BOB: hello.greeted.BOB" in own.stdout

    await until(offends, SECONDS_MAX, "the app's own check finds BOB")

    second = jetmesh("dev", state=tmp_path)
    assert (second.returncode, "a mesh runs in" in second.stderr) == (1, True), second.stderr

    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=SECONDS_MAX)
    assert running.returncode == 0, said
    assert "! await consumer PARCELS/notes-note: there is no stream PARCELS yet" in said
    assert "hello, notes (waits)" in said
    assert not (tmp_path / "endpoints.json").exists()
    for pid in told["pids"].values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
