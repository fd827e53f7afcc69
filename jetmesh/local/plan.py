"""The processes of a mesh and their addresses: a broker, and each service of an app in a process of its own."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from jetmesh.common.http import NO_ANSWER, get
from jetmesh.common.ports import HOST, free_ports, is_taken
from jetmesh.local import broker
from jetmesh.local.backing import NONE, Backing, BackingServices
from jetmesh.local.endpoints import Endpoints
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.service import Service
from jetmesh.settings import Settings, read
from jetmesh.topology import nkeys
from jetmesh.topology.accounts import API_PREFIX, OPERATOR, inbox_of, published
from jetmesh.topology.partitions import Partitions

PROBE_TIMEOUT_SECONDS = 2.0
PYTHON = (sys.executable, "-P", "-m")
"""-P: a folder with the app's name in the current folder must not hide the installed package."""

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The mesh of an app on this machine. A broker that is not its `own` is neither started nor configured."""

    app: str
    services: Sequence[Service]
    state: StateFolder
    nats_url: str
    own_broker: bool
    health_ports: Mapping[str, int]
    monitor_port: int = 0
    split: Partitions = field(default_factory=dict)
    python: Sequence[str] = PYTHON
    backing: Backing = field(default_factory=Backing)
    tenant: str = ""

    @property
    def monitor_url(self) -> str:
        """The URL of the broker's monitoring; empty if the broker is not the mesh's own."""
        return f"http://{HOST}:{self.monitor_port}" if self.own_broker else ""

    def nats_args(self, user: str) -> list[str]:
        """The arguments for the `nats` CLI to connect to the broker as this user."""
        if not self.own_broker:
            return ["-s", self.nats_url]
        inbox = ["--inbox-prefix", inbox_of(user)] if user in published(self.services) else []
        return ["-s", self.nats_url, "--nkey", str(nkeys.seed_file(self.state.keys, user)), *inbox]

    def endpoints(self, pids: Mapping[str, int]) -> Endpoints:
        """The addresses for other commands, with the processes that run now."""
        return Endpoints(
            nats_url=self.nats_url,
            nats_args=self.nats_args(OPERATOR),
            tenant=self.tenant,
            monitor_url=self.monitor_url,
            health_urls={name: f"http://{HOST}:{port}" for name, port in self.health_ports.items()},
            pids=dict(pids),
        ).model_copy(update=dict(self.backing.urls))

    def foundation(self) -> list[Spec]:
        """What the services stand on: the broker, if it is the mesh's own, and their backing services."""
        return [*([self.broker()] if self.own_broker else []), *self.beside()]

    def beside(self) -> list[Spec]:
        """The backing services, which are told where the broker is."""
        return [
            replace(spec, environment={"NATS_URL": self.nats_url, **spec.environment})
            for spec in self.backing.processes
        ]

    def broker(self) -> Spec:
        """The broker's process."""
        port = int(self.nats_url.rpartition(":")[2])
        written = broker.configuration(
            self.services, self.state, port=port, monitor_port=self.monitor_port, split=self.split, tenant=self.tenant
        )
        ready = answers(f"{self.monitor_url}/healthz?js-enabled-only=true")
        return Spec("nats", broker.command(written, self.state), ready)

    def service(self, name: str) -> Spec:
        """A service's process: its environment, and how to check that it is ready."""
        port = self.health_ports[name]
        variables = {
            "NATS_URL": self.nats_url,
            "JETMESH_APP": self.app,
            "JETMESH_STATE": str(self.state.folder),
            "JETMESH_LOG_FORMAT": "json",
            "JETMESH_HEALTH_PORT": str(port),
            **(self._identity(name) if self.own_broker else {}),
            **self.backing.environment(name),
        }
        command = (*self.python, "jetmesh", "run", name)
        ready = answers(f"http://{HOST}:{port}/readyz")
        return Spec(name, command, ready, variables, niceness=self.backing.niceness(name))

    def _identity(self, name: str) -> dict[str, str]:
        """The variables with the service's own account."""
        return {
            "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(self.state.keys, name)),
            "JETMESH_NATS_MICRO_NKEY_SEED": str(nkeys.seed_file(self.state.keys, f"{name}-micro")),
            "JETMESH_NATS_API_PREFIX": API_PREFIX,
        }


def plan(
    app: str, services: Sequence[Service], state: StateFolder, ports: Mapping[str, int], own: BackingServices = NONE
) -> Plan:
    """The mesh of an app on these ports, with its own broker or that of `NATS_URL`, and with its backing services."""
    theirs = their_broker()
    url = theirs or f"nats://{HOST}:{ports['nats']}"
    health, chosen = health_ports(services), read(Settings)
    backing = own.at(state, ports)
    return Plan(
        app, services, state, url, not theirs, health, ports["monitor"], chosen.split, backing=backing,
        tenant=chosen.tenant,
    )  # fmt: skip


def their_broker() -> str:
    """The address of a broker that runs already, `NATS_URL`; empty where the mesh starts its own."""
    chosen = read(Settings)
    return chosen.nats_url if "nats_url" in chosen.model_fields_set else ""


def health_ports(services: Sequence[Service]) -> dict[str, int]:
    """A free port for each service."""
    names = [service.name for service in services]
    return dict(zip(names, free_ports(len(names)), strict=True))


def program(*words: str, **options: object) -> tuple[str, ...]:
    """The command of a Python program: its module, its arguments, its options (`edge_url=…` is `--edge-url …`)."""
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    return (*PYTHON, *words, *chain.from_iterable(pairs))


def answers(url: str) -> Ready:
    """A check whether a URL answers with status 200."""

    async def ready() -> bool:
        try:
            await asyncio.to_thread(get, url, PROBE_TIMEOUT_SECONDS)
        except NO_ANSWER:
            return False
        return True

    return ready


def listens(port: int) -> Ready:
    """Whether a process listens on the port."""

    async def ready() -> bool:
        return is_taken(port)

    return ready
