"""What the reference mesh has on one machine beside its services: a shop, a console, a mail server, ports."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from jetmesh.common.ports import HOST
from jetmesh.local.backing import AFTERWARDS, Backing, BackingServices
from jetmesh.local.plan import Plan, listens, plan, program, their_broker
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.local.tracing import jaeger_page, keeping_spans
from jetmesh.topology import nkeys
from jetmesh.topology.accounts import API_PREFIX, CONSOLE, inbox_of
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.delivery.service import delivery
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.reference.state import FILES, Stores

APP = "jetmesh_shop.flow:SERVICES"
SHOP = "shop"
NOBODY_WAITS_FOR = frozenset({delivery.name, notifications.name, analytics.name})
"""A confirmed order does not need them."""

Ports = Mapping[str, int]


def backing(state: StateFolder, ports: Ports) -> Backing:
    """The shop, the console, the mail sink, and what the services are told of the outside world."""
    urls = {
        "shop_url": f"http://{HOST}:{ports['shop']}",
        "console_url": f"http://{HOST}:{ports['console']}/mesh",
        "http_url": f"http://{HOST}:{ports['http']}",
        "smtp_url": f"smtp://{HOST}:{ports['smtp']}",
    }
    return Backing(
        processes=[mail_sink(state, ports), shop_front(state, ports, urls["http_url"]), console(state, ports)],
        urls=urls,
        environment=partial(_environment, Stores(state.folder), ports, urls),
        niceness=niceness,
    )


def mail_sink(state: StateFolder, ports: Ports) -> Spec:
    """The mail server that keeps every mail."""
    command = program("jetmesh_shop.reference.mailsink", path=Stores(state.folder).mails, port=ports["smtp"])
    return Spec("mail", command, listens(ports["smtp"]), niceness=AFTERWARDS)


def shop_front(state: StateFolder, ports: Ports, http_url: str) -> Spec:
    """The shop in a browser. It reads with an account of its own what its contract says (`consumers/shop.yaml`); whose
    order is whose, the orders' edge says."""
    stores = Stores(state.folder)
    evidence = {"mails": stores.mails, "traces": state.traces, "jaeger_url": jaeger_page()}
    command = program("jetmesh_shop.shop", port=ports["shop"], edge_url=http_url, **evidence)
    return Spec("shop", command, listens(ports["shop"]), _reader(state, SHOP))


def console(state: StateFolder, ports: Ports) -> Spec:
    """The console in a browser, for this machine alone."""
    monitor = {} if their_broker() else {"monitor": f"http://{HOST}:{ports['monitor']}"}
    command = program("jetmesh", "console", port=ports["console"], app=APP, state=state.folder, **monitor)
    return Spec("console", command, listens(ports["console"]), _identity(state, CONSOLE), niceness=AFTERWARDS)


def _identity(state: StateFolder, user: str) -> dict[str, str]:
    """The variables with the account of a user that is no service."""
    if their_broker():
        return {}
    return {
        "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(state.keys, user)),
        "JETMESH_NATS_API_PREFIX": API_PREFIX,
    }


def _reader(state: StateFolder, user: str) -> dict[str, str]:
    """The same of a user outside that `consumers/<user>.yaml` declares: it hears answers on inboxes of its own."""
    account = _identity(state, user)
    return {**account, "JETMESH_NATS_INBOX_PREFIX": inbox_of(user)} if account else {}


def _environment(stores: Stores, ports: Ports, urls: Mapping[str, str], name: str) -> dict[str, str]:
    """The variables of a service."""
    variables = {
        "JETMESH_SMTP_URL": urls["smtp_url"],
        "JETMESH_BANK_LEDGER": str(stores.bank),
        "JETMESH_WAREHOUSE": str(stores.warehouse),
    }
    if name == orders.name:
        variables |= {"JETMESH_HTTP_PORT": str(ports["http"]), "JETMESH_HTTP_SECRET": stores.secret()}
    return variables


def niceness(name: str) -> int:
    """How far a service stands back for those that a customer waits for."""
    return AFTERWARDS if name in NOBODY_WAITS_FOR else 0


BACKING = keeping_spans(
    BackingServices(at=backing, ports={"shop": 8000, "console": 8088, "http": 8080, "smtp": 2525}, files=FILES)
)


def shop(state: StateFolder, ports: Ports, nats_url: str = "") -> Plan:
    """The whole reference mesh on these ports; `nats_url` has the addresses of its own brokers, if they are several."""
    found = plan(APP, SERVICES, state, ports, BACKING)
    return replace(found, nats_url=nats_url, own_broker=True) if nats_url else found
