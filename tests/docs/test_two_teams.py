"""`docs/authors/two-teams.md`, run as two teams would: from wheels, in empty folders, on one broker.

Nothing of this repository is on their path, and nothing is taken from the network. Each block of the page is run as it
stands: what both teams do before they deploy once, the rest with either app first.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jetmesh.common.ports import free_port
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.testing import Broker, until
from tests.docs.pages import Block, blocks
from tests.docs.test_blocks import OF_TWO_TEAMS
from tests.support.processes import end, is_ready
from tests.support.programs import program
from tests.support.wheels import built, clean, installed

PAGE = [block for block in blocks() if block.page == OF_TWO_TEAMS]
FILE = re.compile(r"# (?P<team>\w+)(?P<path>[\w/.-]*\.py)(?P<more>, at the end)?\n")
RUN = "jetmesh run\n"
AS_A_PERSON = """
nats() { for _ in {1..300}; do command nats "$@" && return 0; sleep 0.1; done; return 1; }
set -euo pipefail
"""
"""Around a block: a person who sees that something is not there yet asks again; a command that fails ends the block."""


@dataclass(frozen=True)
class Folder:
    """The folder that holds `wheels`, the folders of the teams and those of the deployed versions."""

    path: Path
    environment: dict[str, str]

    def write(self, code: Block) -> None:
        """Put the code where its first line says."""
        named = FILE.match(code.text)
        assert named, f"{code.name} names no file"
        file = self.path / f"{named['team']}-team" / f"{named['team']}{named['path']}"
        before = f"{file.read_text()}\n\n" if named["more"] else ""
        assert file.is_file(), f"{code.name}: there is no {file}"
        file.write_text(before + code.text[named.end() :])

    def run(self, text: str, status: int = 0) -> str:
        """What a block prints, up to the process that it starts; it ends with this status."""
        done = subprocess.run(
            ["/bin/bash", "-c", AS_A_PERSON + text.removesuffix(RUN)], cwd=self.path, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    @contextmanager
    def running(self, version: str) -> Iterator[int]:
        """The process of a deployed version, for the block; its health port."""
        home, port = self.path / version, free_port()
        environment = {**self.environment, "JETMESH_HEALTH_PORT": str(port)}
        with (self.path / f"{version}.log").open("ab") as log:
            command = [str(home / ".venv" / "bin" / "jetmesh"), "run"]
            process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
        try:
            yield port
        finally:
            assert end(process) == 0


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What both teams did before they deploy: the wheels of both versions."""
    top = tmp_path_factory.mktemp("teams")
    wheel = built(top / "wheels")
    installed(wheel, "[broker,contracts,testing]")  # from here on, everything is in uv's cache
    shutil.rmtree(top / "wheels" / "venv")
    pins = shutil.move(top / "wheels" / "pins.txt", top)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(program("nats")).parent), os.environ["PATH"]])
    ours = {name: value for name, value in clean().items() if name not in ("VIRTUAL_ENV", "NATS_URL")}
    offline = {"UV_OFFLINE": "1", "UV_CONSTRAINT": str(pins), "UV_FIND_LINKS": str(top / "wheels")}
    folder = Folder(top, {**ours, **offline, "PATH": path})
    for block in PAGE:
        if block.language == "python":
            folder.write(block)
        elif "-team" in block.text.partition("\n")[0]:
            folder.run(block.text)
    return folder


def deploy(version: str) -> str:
    """The page's block that deploys a version."""
    (found,) = (block.text for block in PAGE if block.text.startswith(f"mkdir {version} "))
    return found


def block(line: str) -> str:
    """The only block with this line in it."""
    (found,) = (each.text for each in PAGE if line in each.text)
    return found


@pytest.fixture
def here(teams: Folder, tmp_path: Path, broker: Broker) -> Folder:
    """An empty folder, and a broker that has nothing."""
    return Folder(tmp_path, {**teams.environment, "NATS_URL": broker.url})


async def recorded(connection: Connection, stream: str, subject: str) -> bool:
    """Whether an event is."""
    return await api.request(connection, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}) is not None


async def served(connection: Connection, here: Folder, dish: str) -> None:
    """Ask for a dish, and wait until its guest is called."""
    here.run(block("nats pub kitchen.asked").replace("d-1", dish))
    await until(lambda: recorded(connection, "COUNTER", f"guests.called.{dish}"), 30)


@pytest.mark.parametrize("first", ["kitchen", "counter"])
async def test_two_teams_live_on_one_broker_from_their_wheels(here: Folder, connection: Connection, first: str) -> None:
    second = "counter" if first == "kitchen" else "kitchen"
    said = here.run(deploy(f"{first}-0.1.0"))
    assert ("await consumer KITCHEN/counter-call: there is no stream KITCHEN yet" in said) == (first == "counter")
    with ExitStack() as stack:
        ports = [stack.enter_context(here.running(f"{first}-0.1.0"))]
        said = here.run(deploy(f"{second}-0.1.0"))
        ports.append(stack.enter_context(here.running(f"{second}-0.1.0")))
        await until(lambda: all(map(is_ready, ports)), 30)
        await served(connection, here, "d-1")

        said = here.run(deploy("kitchen-0.2.0"))
        assert "create consumer COUNTER/kitchen-serve" in said
        with here.running("kitchen-0.2.0") as newer:
            await until(lambda: is_ready(newer), 30)
            await served(connection, here, "d-2")
            await until(lambda: recorded(connection, "KITCHEN", "dishes.served.d-2"), 30)
            refused = here.run(block("jetmesh contracts retire"), status=1)
            assert "kitchen 0.2.0 records dishes.served: first apply a version that does not" in refused

        said = here.run(block("cd kitchen-0.1.0 && . .venv/bin/activate\njetmesh topology apply"))
        assert "downgrade: the app kitchen 0.1.0 takes the place of 0.2.0" in said
        await served(connection, here, "d-3")
        assert not await recorded(connection, "KITCHEN", "dishes.served.d-1")  # since now
        assert here.run(block("jetmesh contracts retire")) == "retired: dishes.served\n"
