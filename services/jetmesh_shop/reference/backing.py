"""What the reference mesh has on one machine beside its services: a shop, a mail server, a trace store, ports."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from jetmesh import settings
from jetmesh.common.ports import HOST, is_taken
from jetmesh.local.backing import Backing, BackingServices
from jetmesh.local.plan import PYTHON, Plan, listens, plan, their_broker
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.operate.span_source import StorySettings
from jetmesh.telemetry.otlp.settings import GRPC, Signal, exports, has_receiver, receiver
from jetmesh.telemetry.otlp.variables import PROCESS
from jetmesh.topology import nkeys
from jetmesh.topology.accounts import OPERATOR
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.delivery.service import delivery
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.reference.state import FILES, Stores

APP = "jetmesh_shop.flow:SERVICES"
JAEGER_GRPC_PORT, JAEGER_PAGE_PORT = 4317, 16686
SPANS_MAX = 2_000_000
"""An order takes some 25 spans."""
NOBODY_WAITS_FOR = frozenset({delivery.name, notifications.name, analytics.name})
AFTERWARDS = 15
"""The niceness of what a confirmed order does not need: in a burst on few cores it comes after what does."""

Ports = Mapping[str, int]


def backing(state: StateFolder, ports: Ports) -> Backing:
    """The shop, the console, the mail sink, the trace store, and what the services are told of the outside world."""
    urls = {
        "shop_url": f"http://{HOST}:{ports['shop']}",
        "console_url": f"http://{HOST}:{ports['console']}/mesh",
        "http_url": f"http://{HOST}:{ports['http']}",
        "smtp_url": f"smtp://{HOST}:{ports['smtp']}",
        "traces_url": f"http://{HOST}:{ports['traces']}",
    }
    return Backing(
        processes=[
            trace_store(state, ports),
            mail_sink(state, ports),
            shop_front(state, ports, urls["http_url"]),
            console(state, ports),
        ],
        urls=urls,
        environment=partial(_environment, Stores(state.folder), ports, urls),
        niceness=niceness,
    )


def mail_sink(state: StateFolder, ports: Ports) -> Spec:
    """The mail server that keeps every mail."""
    command = _python("mailsink", path=Stores(state.folder).mails, port=ports["smtp"])
    return Spec("mail", command, listens(ports["smtp"]), niceness=AFTERWARDS)


def shop_front(state: StateFolder, ports: Ports, http_url: str) -> Spec:
    """The shop in a browser. It reads the streams as an operator: customers may only publish, and only the orders' edge
    says whose order is whose."""
    stores = Stores(state.folder)
    options = {"port": ports["shop"], "edge_url": http_url, "mails": stores.mails, "traces": stores.traces}
    if jaeger := jaeger_page():
        options["jaeger_url"] = jaeger
    command = (*PYTHON, "jetmesh_shop.shop", *_options(options))
    return Spec("shop", command, listens(ports["shop"]), _operator(state))


def console(state: StateFolder, ports: Ports) -> Spec:
    """The console in a browser, for this machine alone."""
    options = {"port": ports["console"], "app": APP, "state": state.folder}
    command = (*PYTHON, "jetmesh", "console", *_options(options))
    return Spec("console", command, listens(ports["console"]), _operator(state), niceness=AFTERWARDS)


def _operator(state: StateFolder) -> dict[str, str]:
    return {} if their_broker() else {"JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(state.keys, OPERATOR))}


def jaeger_page() -> str:
    """Where traces can be looked at: JETMESH_JAEGER_URL, or the Jaeger on its usual ports; empty for nowhere."""
    if url := settings.read(StorySettings).jaeger_url:
        return url.rstrip("/")
    return f"http://{HOST}:{JAEGER_PAGE_PORT}" if jaeger_here() and is_taken(JAEGER_PAGE_PORT) else ""


def trace_store(state: StateFolder, ports: Ports) -> Spec:
    """The process that keeps the spans, and sends them on."""
    command = _python("trace_receiver", path=Stores(state.folder).traces, port=ports["traces"], spans_max=SPANS_MAX)
    return Spec("traces", command, listens(ports["traces"]), jaeger_here(), niceness=AFTERWARDS)


def _environment(stores: Stores, ports: Ports, urls: Mapping[str, str], name: str) -> dict[str, str]:
    """The variables of a service. Spans go to the mesh's own store, which forwards them."""
    variables = {
        "JETMESH_SMTP_URL": urls["smtp_url"],
        "JETMESH_BANK_LEDGER": str(stores.bank),
        "JETMESH_WAREHOUSE": str(stores.warehouse),
        "OTEL_EXPORTER_OTLP_ENDPOINT": urls["traces_url"],
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        # What the user has set for one signal is where the store sends it on to.
        **{f"OTEL_EXPORTER_OTLP_{signal}_{what}": "" for signal in Signal for what in ("ENDPOINT", "PROTOCOL")},
    }
    if not has_receiver(PROCESS, Signal.METRICS):
        variables["OTEL_METRICS_EXPORTER"] = "none"
    if name == orders.name:
        variables |= {"JETMESH_HTTP_PORT": str(ports["http"]), "JETMESH_HTTP_SECRET": stores.secret()}
    return variables


def jaeger_here() -> dict[str, str]:
    """What makes the trace store send spans on to a Jaeger on its usual port, where the user names no receiver."""
    if has_receiver(PROCESS, Signal.TRACES) or not (exports(PROCESS) and is_taken(JAEGER_GRPC_PORT)):
        return {}
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{HOST}:{JAEGER_GRPC_PORT}",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC,
    }


def sent_on_to() -> str:
    """Where spans go besides the mesh's own store; empty for nowhere."""
    env = {**PROCESS, **jaeger_here()}
    return receiver(env).url.geturl() if has_receiver(env, Signal.TRACES) else ""


def niceness(name: str) -> int:
    """How far a service stands back for those that a customer waits for."""
    return AFTERWARDS if name in NOBODY_WAITS_FOR else 0


def _python(module: str, **options: object) -> tuple[str, ...]:
    return (*PYTHON, f"jetmesh_shop.reference.{module}", *_options(options))


def _options(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        yield from (f"--{name.replace('_', '-')}", str(value))


BACKING = BackingServices(
    at=backing, ports={"shop": 8000, "console": 8088, "http": 8080, "smtp": 2525, "traces": 14318}, files=FILES
)


def shop(state: StateFolder, ports: Ports, nats_url: str = "") -> Plan:
    """The whole reference mesh on these ports; `nats_url` has the addresses of its own brokers, if they are several."""
    found = plan(APP, SERVICES, state, ports, BACKING)
    return replace(found, nats_url=nats_url, own_broker=True) if nats_url else found
