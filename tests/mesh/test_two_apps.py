"""Two apps of two teams, each in a folder of its own as `jetmesh new service` makes it, on one broker.

They read one another's events, are deployed in either order, run, upgraded and rolled back, and nothing of the other
one is changed.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jetmesh import scaffold
from jetmesh.common.ports import free_port
from jetmesh.contracts import deployed, registry
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.testing import Broker, until
from jetmesh.topology import ownership
from tests.support.processes import is_ready, started

HEARD = '''    text: str


class Heard(AskEvent, type="counter.heard", ending=True):
    """The kitchen's answer was heard."""
'''
HEAR = '''

@service.on
async def hear(answered: Theirs) -> Heard:
    """The kitchen has answered: note it."""
    return Heard(ask_id=answered.ask_id)


SERVICES = App((service,), name="counter")
'''
THANKED = '''    text: str


class Thanked(AskEvent, type="kitchen.thanked"):
    """The counter has heard the answer."""
'''
THANK = '''

@service.on
async def thank(heard: Heard) -> Thanked:
    """The counter has heard the answer: thank it."""
    return Thanked(ask_id=heard.ask_id)


SERVICES = (service,)
'''
NEWER = '''    text: str


class Praised(AskEvent, type="kitchen.praised"):
    """Somebody liked the answer."""
'''
PRAISE = '''

@service.on
async def praise(asked: Asked) -> Praised:
    """A question was recorded: praise it."""
    return Praised(ask_id=asked.ask_id)


SERVICES = (service,)
'''


class Team:
    """A team's repository; it has the other team's contracts installed."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.home = name, folder / name
        scaffold.service(name, folder)
        self.contracts = self.home / name / "contract.py"
        self.service = self.home / name / "service.py"
        self.path = os.pathsep.join(str(folder / each) for each in ("kitchen", "counter"))

    def environment(self, broker: Broker) -> dict[str, str]:
        """Of a process of this team."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("JETMESH_")}
        return {**mine, "NATS_URL": broker.url, "PYTHONPATH": self.path, "PYTHONDONTWRITEBYTECODE": "1"}

    def edit(self, version: str, *changes: tuple[Path, str, str]) -> None:
        """Another version of the app: each change replaces a text in a file."""
        project = self.home / "pyproject.toml"
        before = project.read_text()
        head, _, rest = before.partition('version = "')
        project.write_text(f'{head}version = "{version}{rest[rest.index(chr(34)) :]}')
        for file, old, new in changes:
            text = file.read_text()
            assert old in text, (file, old)
            file.write_text(text.replace(old, new))

    async def jetmesh(self, broker: Broker, *arguments: str) -> str:
        """A command in this repository, which succeeds; what it says."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jetmesh", *arguments), cwd=self.home, env=self.environment(broker),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        return said

    def start(self, broker: Broker, stack: ExitStack) -> int:
        """Run its service; the health port."""
        port = free_port()
        environment = {**self.environment(broker), "JETMESH_HEALTH_PORT": str(port)}
        command = [sys.executable, "-m", "jetmesh", "run"]
        stack.enter_context(started(command, self.home / "log", cwd=self.home, env=environment))
        return port


OURS = "\n\nSERVICES = (service,)\n"
IMPORTED = "import Answered, Asked\n"


@pytest.fixture
def kitchen(tmp_path: Path) -> Team:
    """A service that answers, and thanks whoever has heard it."""
    team = Team(tmp_path, "kitchen")
    team.edit(
        "0.1.0",
        (team.contracts, "    text: str\n", THANKED),
        (team.service, OURS, THANK),
        (team.service, IMPORTED, "import Answered, Asked, Thanked\nfrom counter.contract import Heard\n"),
    )
    return team


@pytest.fixture
def counter(tmp_path: Path) -> Team:
    """A service that hears the answers of the kitchen."""
    team = Team(tmp_path, "counter")
    team.edit(
        "0.1.0",
        (team.contracts, "    text: str\n", HEARD),
        (team.service, OURS, HEAR),
        (team.service, IMPORTED, "import Answered, Asked, Heard\nfrom kitchen.contract import Answered as Theirs\n"),
        (team.service, "from jetmesh import Service", "from jetmesh import App, Service"),
    )
    return team


@pytest_asyncio.fixture
async def connection(broker: Broker) -> AsyncIterator[Connection]:
    connection = Connection()
    await connection.open(broker.url, "test")
    yield connection
    await connection.close()


async def owned(connection: Connection, app: str) -> Mapping[str, Any]:
    """Everything of an app on the broker: streams and durables with their configurations, contracts, its subjects."""
    found: dict[str, Any] = {}
    intake: set[str] = set()
    for stream in (await api.request(connection, "STREAM.LIST"))["streams"]:
        config = stream["config"]
        intake |= ownership.claims_of(config).get(app, frozenset())
        owner = ownership.owner_of(config)
        if owner and owner.app == app:
            found[config["name"]] = (config, stream["created"])
        for info in await api.consumers_of(connection, config["name"]):
            owner = ownership.owner_of(info["config"])
            if owner and owner.app == app:
                found[f"{config['name']}/{info['name']}"] = (info["config"], info["created"])
    contracts = {name: each for name, each in (await registry.entries(connection)).items() if each.app == app}
    said = (await deployed.fetch(connection))[app].model_copy(update={"awaits": ()})  # its own next apply clears that
    return {**found, "contracts": contracts, "app": said, "intake": intake}


async def last(connection: Connection, stream: str, subject: str) -> bool:
    """Whether an event is recorded."""
    return await api.request(connection, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}) is not None


async def ask(connection: Connection, question: str) -> None:
    """Ask the kitchen, and wait until the counter has heard its answer, and the kitchen of that."""
    await connection.ask("kitchen.asked", b'{"ask_id": "%s", "name": "Ada"}' % question.encode())
    await until(lambda: last(connection, "COUNTER", f"counter.heard.{question}"), 30)
    await until(lambda: last(connection, "KITCHEN", f"kitchen.thanked.{question}"), 30)


@contextmanager
def running(broker: Broker, *teams: Team) -> Iterator[list[int]]:
    """Both services, for the block."""
    with ExitStack() as stack:
        yield [team.start(broker, stack) for team in teams]


@pytest.mark.parametrize("first", ["kitchen", "counter"])
async def test_two_apps_of_two_teams_live_on_one_broker(
    broker: Broker, connection: Connection, kitchen: Team, counter: Team, first: str
) -> None:
    order = (kitchen, counter) if first == "kitchen" else (counter, kitchen)
    for team in order:
        await team.jetmesh(broker, "topology", "apply")
    before = {team.name: await owned(connection, team.name) for team in order}
    assert before["counter"]["intake"] == {"counter.*"}
    assert "KITCHEN/counter-hear" in before["counter"]
    assert before["counter"]["app"].reads == {"kitchen.answered": ("counter.hear",)}

    with running(broker, kitchen, counter) as ports:
        await until(lambda: all(map(is_ready, ports)), 30)
        await ask(connection, "q-1")
        older = {file: file.read_text() for file in (kitchen.contracts, kitchen.service)}
        kitchen.edit(
            "0.2.0",
            (kitchen.contracts, "    text: str\n", NEWER),
            (kitchen.service, "import Answered, Asked,", "import Answered, Asked, Praised,"),
            (kitchen.service, OURS, PRAISE),
        )
        await kitchen.jetmesh(broker, "topology", "apply", "--since", "kitchen=now")
        assert await owned(connection, "counter") == before["counter"]
        upgraded = await owned(connection, "kitchen")
        assert "kitchen.praised" in upgraded["contracts"]
        with running(broker, kitchen) as (newer,):
            await until(lambda: is_ready(newer), 30)
            await ask(connection, "q-2")
            await until(lambda: last(connection, "KITCHEN", "kitchen.praised.q-2"), 30)

        for file, text in older.items():
            file.write_text(text)
        kitchen.edit("0.1.0")
        said = await kitchen.jetmesh(broker, "topology", "apply")
        (line,) = [line for line in said.splitlines() if "downgrade" in line]
        assert line.startswith("downgrade: the app kitchen 0.1.0 takes the place of 0.2.0; what that one added stays")
        await ask(connection, "q-3")
        for team in order:
            await team.jetmesh(broker, "topology", "apply")
        await ask(connection, "q-4")

    assert await owned(connection, "counter") == before["counter"]
    assert {name for name in upgraded if "praise" in name} == {"KITCHEN/kitchen-praise"}
    retired = await kitchen.jetmesh(broker, "contracts", "retire", "kitchen.praised", "--reason", "nobody praises")
    assert retired == "retired: kitchen.praised\n"
