"""The processes of the demo in the order in which they start, and how each says that it is ready."""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from jetmesh import settings
from jetmesh.common.ports import HOST, free_ports, is_taken
from jetmesh.telemetry.otlp.settings import GRPC, Signal, has_receiver, receiver
from jetmesh.topology import nkeys
from jetmesh.topology.accounts import API_PREFIX, inbox_of, published
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import broker
from jetmesh_shop.reference.endpoints import Endpoints
from jetmesh_shop.reference.machine import Spec
from jetmesh_shop.reference.ports import Ports
from jetmesh_shop.reference.state import State

JAEGER_GRPC_PORT = 4317
SPANS_MAX = 2_000_000
"""An order takes some 25 spans."""
PROBE_TIMEOUT_SECONDS = 2.0
NOBODY_WAITS_FOR = frozenset({"notifications", "analytics"})
AFTERWARDS = 15
"""The niceness of what a confirmed order does not need: in a burst on few cores it comes after what does."""

PYTHON = (sys.executable, "-P", "-m")
"""A folder `services/` where the demo is started must not hide the installed package (-P)."""

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run where."""

    state: State
    ports: Ports
    nats_url: str
    own_broker: bool
    health_ports: dict[str, int]

    @property
    def traces_url(self) -> str:
        """Where the services send their spans."""
        return f"http://{HOST}:{self.ports.traces}"

    @property
    def http_url(self) -> str:
        """The edge."""
        return f"http://{HOST}:{self.ports.http}"

    @property
    def smtp_url(self) -> str:
        """The mail sink."""
        return f"smtp://{HOST}:{self.ports.smtp}"

    @property
    def monitor_url(self) -> str:
        """The broker's monitoring; empty where the broker is somebody else's."""
        return f"http://{HOST}:{self.ports.monitor}" if self.own_broker else ""

    def nats_args(self, user: str) -> list[str]:
        """The arguments with which the `nats` CLI gets to the broker as one of its users."""
        if not self.own_broker:
            return ["-s", self.nats_url]
        inbox = ["--inbox-prefix", inbox_of(user)] if user in published(SERVICES) else []
        return ["-s", self.nats_url, "--nkey", str(nkeys.seed_file(self.state.keys, user)), *inbox]

    def endpoints(self, pids: dict[str, int]) -> Endpoints:
        """The same for everybody else, with the processes that run now."""
        return Endpoints(
            nats_url=self.nats_url,
            nats_args=self.nats_args("operator"),
            http_url=self.http_url,
            smtp_url=self.smtp_url,
            traces_url=self.traces_url,
            monitor_url=self.monitor_url,
            health_urls={name: f"http://{HOST}:{port}" for name, port in self.health_ports.items()},
            pids={"demo": os.getpid(), **pids},
        )


def plan(state: State, ports: Ports) -> Plan:
    """The plan on these ports; a broker that `NATS_URL` names is used as it is."""
    theirs = their_broker()
    names = [service.name for service in SERVICES]
    return Plan(
        state=state,
        ports=ports,
        nats_url=theirs or f"nats://{HOST}:{ports.nats}",
        own_broker=not theirs,
        health_ports=dict(zip(names, free_ports(len(names)), strict=True)),
    )


def their_broker() -> str:
    """The address of a broker that runs already; empty where the demo starts its own."""
    return settings.read(settings.Settings).nats_url if os.environ.get("NATS_URL") else ""


def foundation(plan: Plan) -> list[Spec]:
    """What the services stand on: the broker, the trace store, the mail sink."""
    beside = [_trace_store(plan), _mail_sink(plan)]
    return [_broker(plan), *beside] if plan.own_broker else beside


def services(plan: Plan) -> list[Spec]:
    """Each service in a process of its own."""
    common = environment(plan)
    return [_service(plan, service.name, common) for service in SERVICES]


def environment(plan: Plan) -> dict[str, str]:
    """What every service is told. Spans go to the demo's own store, which sends them on."""
    told = {
        "NATS_URL": plan.nats_url,
        "JETMESH_APP": "jetmesh_shop.flow:SERVICES",
        "JETMESH_STATE": str(plan.state.folder),
        "JETMESH_LOG_FORMAT": "json",
        "JETMESH_SMTP_URL": plan.smtp_url,
        "JETMESH_BANK_LEDGER": str(plan.state.bank),
        "JETMESH_WAREHOUSE": str(plan.state.warehouse),
        "OTEL_EXPORTER_OTLP_ENDPOINT": plan.traces_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        # What the user has set for one signal is where the store sends it on to.
        **{f"OTEL_EXPORTER_OTLP_{signal}_{name}": "" for signal in Signal for name in ("ENDPOINT", "PROTOCOL")},
    }
    if not forward_to():
        told["OTEL_METRICS_EXPORTER"] = "none"
    return told


def forward_to() -> str:
    """Where spans go besides the demo's own store: as the user says, else to a Jaeger on its usual port."""
    if not has_receiver(os.environ, Signal.TRACES):
        return f"grpc://{HOST}:{JAEGER_GRPC_PORT}" if is_taken(JAEGER_GRPC_PORT) else ""
    chosen = receiver(os.environ, Signal.TRACES)
    if chosen.protocol == GRPC and chosen.url.scheme == "http":
        return f"grpc://{chosen.url.netloc}"
    return chosen.url._replace(path=chosen.url.path.removesuffix("/v1/traces")).geturl()


def _broker(plan: Plan) -> Spec:
    ready = _answers(f"{plan.monitor_url}/healthz?js-enabled-only=true")
    return Spec("nats", broker.command(plan.state, plan.ports), ready)


def _trace_store(plan: Plan) -> Spec:
    command = _python(
        "jetmesh_shop.reference.tracestore", path=plan.state.traces, port=plan.ports.traces, spans_max=SPANS_MAX
    )
    if forward := forward_to():
        command += ("--forward", forward)
    return Spec("traces", command, _listens(plan.ports.traces), niceness=AFTERWARDS)


def _mail_sink(plan: Plan) -> Spec:
    command = _python("jetmesh_shop.reference.mailsink", path=plan.state.mails, port=plan.ports.smtp)
    return Spec("mail", command, _listens(plan.ports.smtp), niceness=AFTERWARDS)


def _service(plan: Plan, name: str, common: dict[str, str]) -> Spec:
    port = plan.health_ports[name]
    own = {"JETMESH_HEALTH_PORT": str(port)} | (_identity(plan, name) if plan.own_broker else {})
    ready = [_answers(f"http://{HOST}:{port}/readyz")]
    if name == "orders":
        own |= {"JETMESH_HTTP_PORT": str(plan.ports.http), "JETMESH_HTTP_SECRET": plan.state.secret()}
        ready.append(_listens(plan.ports.http))
    command = (*PYTHON, "jetmesh", "run", name)
    return Spec(name, command, _all(ready), common | own, niceness=niceness(name))


def niceness(name: str) -> int:
    """How far a service stands back for those that a customer waits for."""
    return AFTERWARDS if name in NOBODY_WAITS_FOR else 0


def _identity(plan: Plan, name: str) -> dict[str, str]:
    """The account of a service: what it declares, and nothing else."""
    return {
        "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(plan.state.keys, name)),
        "JETMESH_NATS_MICRO_NKEY_SEED": str(nkeys.seed_file(plan.state.keys, f"{name}-micro")),
        "JETMESH_NATS_API_PREFIX": API_PREFIX,
    }


def _python(module: str, **options: object) -> tuple[str, ...]:
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    return (*PYTHON, module, *(word for pair in pairs for word in pair))


def _listens(port: int) -> Ready:
    async def ready() -> bool:
        return is_taken(port)

    return ready


def _answers(url: str) -> Ready:
    async def ready() -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_SECONDS) as client:
            try:
                return (await client.get(url)).is_success
            except httpx.HTTPError:
                return False

    return ready


def _all(parts: Sequence[Ready]) -> Ready:
    async def ready() -> bool:
        return all([await part() for part in parts])

    return ready
