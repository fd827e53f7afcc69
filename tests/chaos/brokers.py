"""The brokers under fire: one nats-server, or three that are one cluster, each a process with its own store."""

import json
from dataclasses import dataclass
from pathlib import Path

import httpx

from jetmesh import accounts, keys
from jetmesh.topology import MESSAGE_BYTES_MAX
from services.flow import SERVICES
from services.reference import broker
from services.reference.machine import Spec
from services.reference.ports import HOST, free_ports
from services.reference.state import State

PROBE_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Node:
    """One server: where it listens for clients, for its peers and for its monitor."""

    name: str
    port: int
    cluster_port: int
    monitor_port: int

    @property
    def url(self) -> str:
        """What `NATS_URL` is for it."""
        return f"nats://{HOST}:{self.port}"

    async def is_healthy(self) -> bool:
        """Whether it serves, all of its streams included."""
        return await answers(self.monitor_port, "healthz")


async def answers(port: int, page: str) -> bool:
    """Whether a page of a process here says that all is well."""
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_SECONDS) as client:
        try:
            return (await client.get(f"http://{HOST}:{port}/{page}")).is_success
        except httpx.HTTPError:
            return False


def nodes(count: int) -> list[Node]:
    """So many servers on free ports."""
    ports = iter(free_ports(3 * count))
    return [Node(f"nats-{number}", next(ports), next(ports), next(ports)) for number in range(1, count + 1)]


def spec(state: State, node: Node, peers: list[Node]) -> Spec:
    """The process of a node; writes its configuration."""
    folder = state.broker / node.name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nats-server.conf"
    file.write_text(configuration(state, node, peers, folder / "jetstream"))
    return Spec(node.name, (broker.binary(), "--config", str(file)), node.is_healthy)


def configuration(state: State, node: Node, peers: list[Node], store: Path) -> str:
    """As the demo's broker: what is acknowledged is on the disk, and every service has its account."""
    users = keys.ensure(state.keys, keys.users(SERVICES))
    routes = ", ".join(json.dumps(f"nats-route://{HOST}:{peer.cluster_port}") for peer in peers)
    listen = f'listen: "{HOST}:{node.cluster_port}"'
    cluster = f"cluster {{ name: chaos, {listen}, no_advertise: true, routes: [{routes}] }}"
    return f"""\
server_name: {node.name}
listen: "{HOST}:{node.port}"
http: "{HOST}:{node.monitor_port}"
max_payload: {MESSAGE_BYTES_MAX}
jetstream {{
  store_dir: {json.dumps(str(store.resolve()))}
  sync_interval: always
}}
{cluster if len(peers) > 1 else ""}
no_auth_user: {users["client"][0]}
{accounts.configuration(SERVICES, users)}"""
