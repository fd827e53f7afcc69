"""Each command of a console block is run, or read by the program that it calls; no command is left out.

| block | what is done |
|---|---|
| `ALONE` | run as it stands, in an empty folder, with a broker of its own |
| `ON_A_DEMO` | run as it stands, one after the other, beside a running `jetmesh demo` |
| `ON_AN_EMPTY_BROKER` | run as it stands, in the folder of that demo, with a broker that has no stream |
| `ON_ITS_OWN_PORT` | run as it stands, with a mesh of its own, on a port that is free |
| `WITH_THE_APP_OF_ITS_PAGE` | run as it stands, in a folder with the page's own app, with a broker that has no stream |
| `AFTER_AN_EVENT_IS_GONE` | run as it stands, with a broker that knows an event which the app records no more |
| `HERE` | run as it stands, in the repository |
| `WITH_OBJECTS_OF_ITS_PAGE` | run as it stands, with a broker that keeps an object of the page's own app |
| `WITH_TWO_VERSIONS` | run as it stands, beside a database with two versions of a read model |
| `THE_DEMO` | its first line is run as it stands, in a network of its own; `.ci/run` runs its second |
| of `two-teams.md` | run as they stand by test_two_teams.py, and not here |
| every other block | bash calls it, and each program's own reader takes the arguments: `commands.READERS` says which |

The other blocks need root, a cluster, the network or hours: Kubernetes, systemd, container images, all tests, chaos.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
import pytest

from jetmesh.testing import Broker, nats_server_binary
from tests.docs.commands import READERS, called
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.test_blocks import OF_TWO_TEAMS
from tests.support.programs import program
from tests.support.read_models import two_versions
from tools.cluster import free_ports

SECONDS_MAX = 120
APP = "jetmesh_shop.flow:SERVICES"
BLOCKS = {block.name: block for block in blocks("console") if block.page != OF_TWO_TEAMS}

ALONE = ("README.md#2",)
ON_A_DEMO = (
    "README.md#5", "docs/authors/retries.md#3", "docs/operations.md#4", "docs/operations.md#6", "docs/operations.md#8",
)  # fmt: skip
ON_AN_EMPTY_BROKER = ("docs/operations.md#2", "docs/operations.md#3", "docs/operations.md#7")
ON_ITS_OWN_PORT = ("examples/chat/README.md#1",)
WITH_THE_APP_OF_ITS_PAGE = (
    "docs/authors/teams.md#2",
    "docs/authors/teams.md#3",
    "docs/authors/teams.md#5",
    "docs/authors/teams.md#6",
)
AFTER_AN_EVENT_IS_GONE = ("docs/authors/teams.md#7",)
HERE = ("docs/authors/contracts.md#1",)
WITH_OBJECTS_OF_ITS_PAGE = ("docs/authors/blobs.md#3",)
WITH_TWO_VERSIONS = ("docs/authors/sql.md#5",)
THE_DEMO = "README.md#3"

AS_A_PERSON = """
pip() { :; }                                            # jetmesh is installed already
kubectl() { grep --quiet "kind: Stream" "${!#}"; }      # the file that it is given
nats-server() { command nats-server --addr 127.0.0.1 --port "$PORT" "$@" 2> nats-server.log; }
again() { for _ in {1..100}; do "$@" && return 0; sleep 0.1; done; return 1; }
nats() { case $1 in pub) command nats ${AS:-} "$@";; *) again command nats ${AS:-} "$@";; esac; }
jetmesh() {
  case "$1 ${2:-}" in
    "top "*) command jetmesh "$@" --once;;              # instead of Ctrl-C
    "order "*) again command jetmesh "$@";;             # a person needs a moment as well
    "topology plan") command jetmesh "$@" || [ $? = 1 ];;   # something is to be made
    *) command jetmesh "$@";;
  esac
}
python3() { again command python3 "$@"; }
set -euo pipefail
"""
"""Around a block that is run: what a person does who sees that something is not there yet, and where the broker is."""


@pytest.mark.parametrize("name", BLOCKS)
def test_every_command_is_read_by_its_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = called(BLOCKS[name].text, tmp_path)
    assert calls or BLOCKS[name].text.startswith("export")
    monkeypatch.chdir(tmp_path)
    for program_name, *arguments in calls:
        READERS[program_name](arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        "jetmesh topology aply",
        "jetmesh archive --older 90d",
        "jetmesh archive --older-than 90x",
        "uv run jetmesh demo --order 5",
        "just bensh",
        "just chaos --only-one",
        "nats stream get --first-for x ORDERS",
        "helm install mesh . --wayt",
        "kubectl apply --flename x",
        "unheard-of --option",
    ],
)
def test_a_command_that_is_not_there_is_found(wrong: str, tmp_path: Path) -> None:
    ((program_name, *arguments),) = called(wrong, tmp_path)
    with pytest.raises((click.UsageError, AssertionError, KeyError)):
        READERS[program_name](arguments)


def run(block: Block, folder: Path, where: Path | None = None, **environment: str) -> str:
    """What a block prints, run by bash `where` (in the folder of its output); it must end well."""
    programs = sys.executable, nats_server_binary(), program("nats")
    paths = [str(Path(each).parent) for each in programs]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "JETMESH_", "OTEL_"))}
    with (folder / "said").open("w+b") as said:
        shell = subprocess.Popen(
            ["/bin/bash", "-c", AS_A_PERSON + block.text.replace("/var/lib/jetmesh", str(folder / "var"))],
            cwd=where or folder, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**ours, "PATH": os.pathsep.join([*paths, ours["PATH"]]), **environment},
        )  # fmt: skip
        try:
            status = shell.wait(SECONDS_MAX)
        finally:
            end_group(shell)
        said.seek(0)
        text = said.read().decode()
    assert status == 0, text
    return text


def end_group(shell: "subprocess.Popen[bytes]") -> None:
    """Stop what the block left in the background."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline:
            shell.poll()
            os.killpg(shell.pid, 0)
            time.sleep(0.05)


def test_the_service_of_the_first_page_runs(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (hello,) = (block for block in blocks("python") if block.page == "README.md")
    (tmp_path / "hello.py").write_text(hello.text)
    (name,) = ALONE
    said = run(BLOCKS[name], tmp_path, PORT=str(port), NATS_URL=f"nats://127.0.0.1:{port}")
    assert '{"greeting_id":"g-1","text":"Hello, Ada!"}' in said


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a running demo, found by its state folder as on a person's machine."""
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jetmesh", "demo", "--free-ports"], cwd=folder, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + SECONDS_MAX
        while not (folder / ".jetmesh" / "endpoints.json").exists():
            assert process.poll() is None, (folder / "demo.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS_MAX)
        shutil.rmtree(folder / ".jetmesh", ignore_errors=True)


@pytest.mark.parametrize("name", ON_A_DEMO)
def test_a_block_for_a_running_mesh_runs(name: str, demo: Path) -> None:
    url = json.loads((demo / ".jetmesh" / "endpoints.json").read_text())["nats_url"]
    run(BLOCKS[name], demo, AS=f"--server {url} --nkey .jetmesh/keys/client.nk --inbox-prefix _INBOX_client")


@pytest.mark.parametrize("name", ON_AN_EMPTY_BROKER)
def test_a_block_for_an_empty_broker_runs(name: str, demo: Path, broker: Broker) -> None:
    run(BLOCKS[name], demo, NATS_URL=broker.url, JETMESH_APP=APP)


@pytest.mark.parametrize("name", ON_ITS_OWN_PORT)
def test_a_block_with_a_mesh_of_its_own_runs(name: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    block = replace(BLOCKS[name], text=BLOCKS[name].text.replace("4222", str(port)))
    said = run(block, tmp_path, PYTHONPATH=str(ROOT))
    assert "ada: The canteen has soup" in said
    assert "hidden: spam" in said


@pytest.mark.parametrize("name", WITH_THE_APP_OF_ITS_PAGE)
def test_a_block_for_the_app_of_its_page_runs(name: str, tmp_path: Path, broker: Broker) -> None:
    page = BLOCKS[name].page
    (tmp_path / "counter.py").write_text("".join(block.text for block in blocks("python") if block.page == page))
    run(BLOCKS[name], tmp_path, NATS_URL=broker.url, JETMESH_APP="counter:SERVICES")
    assert "accounts" not in BLOCKS[name].text or "accounts" in (tmp_path / "accounts.conf").read_text()


KITCHEN = """
from jetmesh import App, EventModel, Service, Token

class Asked(EventModel, type="dishes.asked", owner="kitchen", key_field="dish_id", from_outside=True):
    dish_id: Token

class Burnt(EventModel, type="dishes.burnt", owner="kitchen", key_field="dish_id", ending=True):
    dish_id: Token

class Cooked(EventModel, type="dishes.cooked", owner="kitchen", key_field="dish_id", ending=True):
    dish_id: Token

kitchen = Service("kitchen")

@kitchen.intake
async def cook(asked: Asked) -> {outcomes}: ...

SERVICES = App((kitchen,), name="kitchen")
"""


@pytest.mark.parametrize("name", AFTER_AN_EVENT_IS_GONE)
def test_a_block_after_an_event_is_gone_runs(name: str, tmp_path: Path, broker: Broker) -> None:
    for outcomes in ("Asked | Cooked | Burnt", "Asked | Cooked"):
        (tmp_path / "kitchen.py").write_text(KITCHEN.format(outcomes=outcomes))
        applied = replace(BLOCKS[name], text="jetmesh topology apply")
        run(applied, tmp_path, NATS_URL=broker.url, JETMESH_APP="kitchen:SERVICES")
    said = run(BLOCKS[name], tmp_path, NATS_URL=broker.url, JETMESH_APP="kitchen:SERVICES")
    assert "retired: dishes.burnt" in said


@pytest.mark.parametrize("name", HERE)
def test_a_block_for_the_repository_runs(name: str, tmp_path: Path) -> None:
    run(BLOCKS[name], tmp_path, ROOT)


UPLOAD = """
import asyncio, sys
import jetmesh
from uploads import ReportUploaded

async def upload():
    async with jetmesh.connect(sys.argv[1]) as mesh:
        await mesh.blobs.put(ReportUploaded, b"page", content_type="text/plain")

asyncio.run(upload())
"""


@pytest.mark.parametrize("name", WITH_OBJECTS_OF_ITS_PAGE)
def test_a_block_with_objects_runs(name: str, tmp_path: Path, broker: Broker) -> None:
    page = next(block for block in blocks("python") if block.page == BLOCKS[name].page)
    (tmp_path / "uploads.py").write_text(page.text + "\nSERVICES = (reports, readings)\n")
    (tmp_path / "upload.py").write_text(UPLOAD)
    there = {"NATS_URL": broker.url, "JETMESH_APP": "uploads:SERVICES"}
    put = replace(BLOCKS[name], text=f"jetmesh topology apply && python3 upload.py {broker.url}")
    run(put, tmp_path, None, **there)
    said = run(BLOCKS[name], tmp_path, None, **there)
    assert "REPORTS" in said
    assert "would" in said


@pytest.mark.parametrize("name", WITH_TWO_VERSIONS)
def test_a_block_with_two_versions_runs(name: str, tmp_path: Path) -> None:
    asyncio.run(two_versions(tmp_path / "bookings.db"))
    assert "dropped: visits_v1" in run(BLOCKS[name], tmp_path)


def test_the_command_that_runs_the_mesh_does(tmp_path: Path) -> None:
    run_it, _ = BLOCKS[THE_DEMO].text.splitlines()
    alone = ["unshare", "--map-root-user", "--net", "bash", "-c", f"{UNDER_UV}ip link set lo up\n{run_it}"]
    environment = {**os.environ, "UV_PROJECT": str(ROOT), "UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1"}
    with (tmp_path / "said").open("w+") as said:
        shell = subprocess.Popen(alone, cwd=tmp_path, env=environment, stdout=said, stderr=said, start_new_session=True)
        try:
            wait_for("Ctrl-C stops all of it", tmp_path / "said", shell)
            os.killpg(shell.pid, signal.SIGINT)
            shell.wait(SECONDS_MAX)
        finally:
            end_group(shell)
    text = (tmp_path / "said").read_text()
    assert "delivery.delivered" in text
    assert text.endswith("✓ stopped\n")


UNDER_UV = "pip() { :; }  # uv is installed already\n"


def wait_for(words: str, file: Path, process: "subprocess.Popen[bytes]") -> None:
    """Until the file has the words, while the process lives."""
    deadline = time.monotonic() + SECONDS_MAX
    while words not in (text := file.read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
