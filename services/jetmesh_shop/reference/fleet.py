"""The reference mesh on one machine: its services, a trace store, a mail server, and their environments."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jetmesh.common.ports import HOST, is_taken
from jetmesh.local.endpoints import Endpoints
from jetmesh.local.plan import PYTHON, Plan, health_ports, listens
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.telemetry.otlp.settings import GRPC, Signal, exports, has_receiver, receiver
from jetmesh.telemetry.otlp.variables import PROCESS
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.reference.ports import Ports
from jetmesh_shop.reference.state import Stores

APP = "jetmesh_shop.flow:SERVICES"
JAEGER_GRPC_PORT = 4317
SPANS_MAX = 2_000_000
"""An order takes some 25 spans."""
NOBODY_WAITS_FOR = frozenset({notifications.name, analytics.name})
AFTERWARDS = 15
"""The niceness of what a confirmed order does not need: in a burst on few cores it comes after what does."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The mesh with its trace store and mail server, on these ports."""

    mesh: Plan
    ports: Ports

    @property
    def stores(self) -> Stores:
        """The files of all of them."""
        return Stores(self.mesh.state.folder)

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

    def endpoints(self, pids: Mapping[str, int]) -> Endpoints:
        """Where everything is reached, with the processes that run now."""
        told = self.mesh.endpoints({"demo": os.getpid(), **pids})
        more = {"http_url": self.http_url, "smtp_url": self.smtp_url, "traces_url": self.traces_url}
        return told.model_copy(update=more)

    def foundation(self) -> list[Spec]:
        """What the services stand on: the broker, the trace store, the mail sink."""
        return [*self.mesh.broker(), self._trace_store(), self.mail_sink()]

    def services(self) -> list[Spec]:
        """Each service in a process of its own."""
        return [self.service(service.name) for service in SERVICES]

    def service(self, name: str) -> Spec:
        """One of them, which stands back for those that a customer waits for if nobody waits for it."""
        told = self._environment()
        if name == orders.name:
            told |= {"JETMESH_HTTP_PORT": str(self.ports.http), "JETMESH_HTTP_SECRET": self.stores.secret()}
        return replace(self.mesh.service(name, told), niceness=niceness(name))

    def mail_sink(self) -> Spec:
        """The mail server that keeps every mail."""
        command = _python("mailsink", path=self.stores.mails, port=self.ports.smtp)
        return Spec("mail", command, listens(self.ports.smtp), niceness=AFTERWARDS)

    def _trace_store(self) -> Spec:
        command = _python("trace_receiver", path=self.stores.traces, port=self.ports.traces, spans_max=SPANS_MAX)
        return Spec("traces", command, listens(self.ports.traces), jaeger_here(), niceness=AFTERWARDS)

    def _environment(self) -> dict[str, str]:
        """The environment of every service. Spans go to the demo's own store, which forwards them."""
        told = {
            "JETMESH_SMTP_URL": self.smtp_url,
            "JETMESH_BANK_LEDGER": str(self.stores.bank),
            "JETMESH_WAREHOUSE": str(self.stores.warehouse),
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.traces_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            # What the user has set for one signal is where the store sends it on to.
            **{f"OTEL_EXPORTER_OTLP_{signal}_{name}": "" for signal in Signal for name in ("ENDPOINT", "PROTOCOL")},
        }
        return told if has_receiver(PROCESS, Signal.METRICS) else told | {"OTEL_METRICS_EXPORTER": "none"}


def fleet(state: StateFolder, ports: Ports, nats_url: str = "", *, own_broker: bool = True) -> Fleet:
    """The mesh on these ports; its broker at `nats_url`, if not at its port."""
    url = nats_url or f"nats://{HOST}:{ports.nats}"
    return Fleet(Plan(APP, SERVICES, state, url, own_broker, health_ports(SERVICES), ports.monitor), ports)


def jaeger_here() -> dict[str, str]:
    """What makes the trace store send spans on to a Jaeger on its usual port, where the user names no receiver."""
    if has_receiver(PROCESS, Signal.TRACES) or not (exports(PROCESS) and is_taken(JAEGER_GRPC_PORT)):
        return {}
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{HOST}:{JAEGER_GRPC_PORT}",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC,
    }


def sent_on_to() -> str:
    """Where spans go besides the demo's own store; empty for nowhere."""
    env = {**PROCESS, **jaeger_here()}
    return receiver(env).url.geturl() if has_receiver(env, Signal.TRACES) else ""


def niceness(name: str) -> int:
    """How far a service stands back for those that a customer waits for."""
    return AFTERWARDS if name in NOBODY_WAITS_FOR else 0


def _python(module: str, **options: object) -> tuple[str, ...]:
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    return (*PYTHON, f"jetmesh_shop.reference.{module}", *(word for pair in pairs for word in pair))
