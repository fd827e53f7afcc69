"""Compose and systemd run what they say, here as it stands: only names, paths and ports are those of the test."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetmesh.common.ports import free_ports
from jetmesh.testing import nats_server_binary
from jetmesh.topology import nkeys
from jetmesh_shop.flow import SERVICES
from tests.deploy.test_commands import PATHS
from tests.support.processes import is_ready, started
from tests.support.programs import ROOT, program, run
from tests.support.samples import body
from tests.support.waiting import wait_until

BIN = Path(sys.executable).parent
NAMES = [service.name for service in SERVICES]


@dataclass
class Machine:
    """One machine that stands for the containers, or the units, of the mesh. `words` are those that are others here."""

    folder: Path
    words: dict[str, str] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """The text with the paths, addresses and ports of this machine."""
        for there, here in self.words.items():
            text = text.replace(there, here)
        return text

    @contextmanager
    def process(self, name: str, command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
        """A process for as long as the block lasts, with its log in the folder."""
        told = {**clean(), **environment}
        with started(command, self.folder / f"{name}.log", env=told, cwd=self.folder):
            yield


def clean() -> dict[str, str]:
    """Nothing of the caller's mesh."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "JETMESH_", "OTEL_"))}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{kept['PATH']}", "PYTHONPATH": PATHS}


def seeds(folder: Path) -> set[str]:
    """The public keys of the seeds in a folder."""
    return {nkeys._public_key(file) for file in folder.glob("*.nk")}


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


class Containers(Machine):
    """The containers of compose.yaml, with their volumes as folders."""

    def volume(self, source: str) -> Path:
        """Where a named volume is here."""
        found = self.folder / "volumes" / source
        found.mkdir(parents=True, exist_ok=True)
        return found

    def root(self, name: str) -> Path:
        """What is / in a container, as far as there are volumes."""
        root = self.folder / "roots" / name
        for volume in COMPOSE["services"][name].get("volumes", ()):
            source, there, *_ = volume.split(":")
            place = root / there.removeprefix("/")
            if "/" not in source and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(self.volume(source))
        return root

    def container(self, name: str) -> tuple[list[str], dict[str, str]]:
        """What a container runs, and its variables."""
        found, root = COMPOSE["services"][name], self.root(name)
        tops = "|".join(path.name for path in root.iterdir()) if root.exists() else "-"

        def here(text: object) -> str:
            moved = re.sub(rf"(?<![\w/.])/({tops})(?=[/\s]|$)", rf"{root}/\1", str(text).replace("$$", "$"))
            return self.here(moved)

        command = [here(part) for part in [*found.get("entrypoint", ["jetmesh"]), *found.get("command", ())]]
        environment = {each: here(value) for each, value in (found.get("environment") or {}).items()}
        return command, {each: value for each, value in environment.items() if not each.startswith("OTEL_")}

    def done(self, name: str, *more: str) -> str:
        """A container, to its end; what it prints."""
        command, environment = self.container(name)
        return run(*command, *more, env={**clean(), **environment}, cwd=str(self.folder))


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    """The keys are made, the broker runs, the topology is applied."""
    nats, smtp = free_ports(2)
    owner = {} if os.geteuid() == 0 else {"--owner 10001 ": ""}
    places = {"nats://nats:4222": f"nats://127.0.0.1:{nats}", "smtp://mail:2525": f"smtp://127.0.0.1:{smtp}"}
    ports = {"0.0.0.0": "127.0.0.1", "2525": str(smtp)}
    found = Containers(tmp_path, {**owner, **places, **ports})
    found.done("keys")
    config = (ROOT / "deploy" / "nats" / "nats.conf").read_text().replace("http: 8222", "")
    config = config.replace("port: 4222", f"listen: 127.0.0.1:{nats}").replace("/data", str(tmp_path / "data"))
    (tmp_path / "nats.conf").write_text(config)
    (tmp_path / "keys").symlink_to(found.root("nats") / "etc" / "nats" / "keys")
    assert "/etc/nats/nats.conf" in COMPOSE["services"]["nats"]["command"]
    with found.process("nats", [nats_server_binary(), "--config", str(tmp_path / "nats.conf")], {}):
        wait_until(lambda: f":{nats}" in (tmp_path / "nats.log").read_text())
        assert "streams and durables are as needed" in found.done("topology")
        yield found


def test_the_containers_have_their_own_keys_alone_and_take_an_order_to_its_end(containers: Containers) -> None:
    given = {name: seeds(containers.root(name) / "run" / "keys") for name in [*NAMES, "client", "operator"]}
    assert [len(given[name]) for name in given] == [*[2] * len(NAMES), 1, 1]
    assert len(set.union(*given.values())) == 2 * len(NAMES) + 2
    secret = containers.root("orders") / "run" / "keys" / "http.secret"
    signs = secret.read_text().strip()
    assert len(signs) == 64
    containers.done("keys")
    assert secret.read_text().strip() == signs, "tokens of orders outlive a restart"
    assert given["orders"] == seeds(containers.root("orders") / "run" / "keys"), "they are made once"
    with everything(containers, containers.container, ["mail"]):
        assert "notifications.receipt_sent" in containers.done("smoke-test")
        program("nats")
        environment = {"PATH": f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        command, told = containers.container("client")
        order = json.dumps(body("o-by-hand"))
        run(*command, "pub", "orders.placed", order, "-J", env={**clean(), **told, **environment})
        run(*command, "pub", "stock.restocked", "{}", "-J", status=1, env={**clean(), **told, **environment})
        operator, told = containers.container("operator")
        get = ("stream", "get", "ORDERS", "--last-for", "orders.placed.o-by-hand", "--json")
        wait_until(lambda: not subprocess.run(
            [*operator, *get], env={**clean(), **told, **environment}, capture_output=True, check=False
        ).returncode)  # fmt: skip


@contextmanager
def everything(machine: Machine, of: Any, more: list[str]) -> Iterator[None]:
    """Every service runs and is ready."""
    ports = dict(zip([*NAMES, "http"], free_ports(len(NAMES) + 1), strict=True))
    with ExitStack() as stack:
        for name in [*more, *NAMES]:
            command, environment = of(name)
            own = {"JETMESH_HEALTH_PORT": str(ports[name]), "JETMESH_HEALTH_HOST": "127.0.0.1"} if name in ports else {}
            http = {"JETMESH_HTTP_PORT": str(ports["http"])} if "JETMESH_HTTP_PORT" in environment else {}
            stack.enter_context(machine.process(name, command, {**environment, **own, **http}))
        for name in NAMES:
            wait_until(partial(is_ready, ports[name]))
        yield


def test_compose_publishes_nothing_to_other_machines() -> None:
    published = [str(port) for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert len(published) == 6
    assert [port for port in published if not port.startswith(("127.0.0.1:", "${JETMESH_BIND:-127.0.0.1}:"))] == []


class Units(Machine):
    """The units of systemd, installed by the guide's own commands under a folder."""

    @property
    def etc(self) -> Path:
        """What is /etc there."""
        return self.folder / "etc"

    def install(self) -> None:
        """The guide's commands, but those that install the program and talk to systemd."""
        guide = (ROOT / "docs" / "operations.md").read_text().partition("## One machine, without containers")[2]
        block = guide.partition("```console\n")[2].partition("```")[0]
        (self.etc / "systemd" / "system").mkdir(parents=True)
        lines = [line.partition(" && systemctl")[0] for line in block.splitlines()]
        ours = [line for line in lines if not re.match("python3 -m venv|UV_PROJECT_ENVIRONMENT|systemctl", line)]
        assert len(ours) == len(lines) - 3
        for line in ours:
            run("bash", "-euc", self.here(line), cwd=str(ROOT), env=clean())

    def unit(self, file: str, instance: str = "") -> tuple[list[str], dict[str, str]]:
        """What a unit runs, and its variables: its files go before what it says itself."""
        credentials = self.folder / "credentials" / f"{file}-{instance}"
        credentials.mkdir(parents=True, exist_ok=True)
        settings: dict[str, list[str]] = {}
        for line in (self.etc / "systemd" / "system" / file).read_text().splitlines():
            name, sign, value = line.partition("=")
            if sign and not line.startswith("#"):
                value = value.replace("%i", instance).replace("%d", str(credentials))
                settings.setdefault(name, []).append(self.here(value))
        for credential in settings.get("LoadCredential", ()):
            name, _, source = credential.partition(":")
            (credentials / name).write_bytes(Path(source).read_bytes())
        environment = dict(pair.partition("=")[::2] for value in settings["Environment"] for pair in shlex.split(value))
        for source in settings["EnvironmentFile"]:
            if (path := Path(source.removeprefix("-"))).exists():
                environment |= dict(line.partition("=")[::2] for line in path.read_text().splitlines())
        return shlex.split(settings["ExecStart"][0]), environment


@pytest.fixture
def units(tmp_path: Path) -> Iterator[Units]:
    """Installed, with the broker running and the topology applied."""
    (nats,) = free_ports(1)
    places = {"/etc/": f"{tmp_path}/etc/", "/opt/jetmesh/bin": str(BIN), "/var/lib/jetmesh": str(tmp_path / "var")}
    found = Units(tmp_path, places)
    found.install()
    config = (found.etc / "jetmesh" / "nats.conf").read_text()
    assert re.findall(r'"(.*):\d+"', config) == ["127.0.0.1", "127.0.0.1"], "on loopback alone"
    config = config.replace("127.0.0.1:4222", f"127.0.0.1:{nats}").replace('http: "127.0.0.1:8222"', "")
    (found.etc / "jetmesh" / "nats.conf").write_text(found.here(config))
    (found.etc / "jetmesh" / "mesh.env").write_text(f"NATS_URL=nats://127.0.0.1:{nats}\n")
    broker = found.here("/etc/jetmesh/nats.conf")
    assert "--config /etc/jetmesh/nats.conf" in (ROOT / "deploy" / "systemd" / "jetmesh-broker.service").read_text()
    with found.process("nats", [nats_server_binary(), "--config", broker], {}):
        wait_until(lambda: f":{nats}" in (tmp_path / "nats.log").read_text())
        command, environment = found.unit("jetmesh-topology.service")
        assert "streams and durables are as needed" in run(*command, env={**clean(), **environment})
        yield found


def test_each_unit_has_its_own_key_alone_and_an_order_goes_to_its_end(units: Units) -> None:
    secret = units.etc / "jetmesh" / "orders.env"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert re.search(r"^JETMESH_HTTP_SECRET=[0-9a-f]{64}$", secret.read_text(), re.MULTILINE)
    with everything(units, partial(units.unit, "jetmesh@.service"), []):
        own = {name: seeds(units.folder / "credentials" / f"jetmesh@.service-{name}") for name in NAMES}
        assert [len(own[name]) for name in NAMES] == [2] * len(NAMES)
        assert len(set.union(*own.values())) == 2 * len(NAMES)
        command = [sys.executable, "-m", "jetmesh_shop.reference.smoke_test"]
        _, operator = units.unit("jetmesh-topology.service")
        (mails,) = free_ports(1)
        sink = [sys.executable, "-m", "jetmesh_shop.reference.mailsink", "--port", str(mails), "--path", "mail.sqlite"]
        with units.process("mail", sink, {}):
            said = subprocess.run(
                [*command, "--within-seconds", "20"], env={**clean(), **operator}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
    assert "payments.captured" in said.stdout, said.stdout + said.stderr
    archive, environment = units.unit("jetmesh-archive.service")
    run(*(part.replace("${OLDER_THAN}", environment["OLDER_THAN"]) for part in archive), env={**clean(), **environment})
