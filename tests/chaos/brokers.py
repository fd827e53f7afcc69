"""The brokers under fire: one nats-server, or three that are one cluster, each a process with its own store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from jetmesh.common.ports import HOST, free_ports
from jetmesh.contracts import outside
from jetmesh.jetstream.limits import PAYLOAD_BYTES_MAX
from jetmesh.local import broker
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.topology import accounts, nkeys
from jetmesh_shop.flow import SERVICES as SHOP
from tests.chaos import second_app
from tests.chaos.network import Network

PROBE_TIMEOUT_SECONDS = 2.0
SERVICES = (*SHOP, *second_app.SERVICES)
"""Of both apps: each has its account, whether it runs or not."""


@dataclass(frozen=True, slots=True)
class Node:
    """One server: where it listens for clients, for its peers and for its monitor."""

    name: str
    host: str
    port: int
    cluster_port: int
    monitor_port: int

    @property
    def url(self) -> str:
        """What `NATS_URL` is for it."""
        return f"nats://{self.host}:{self.port}"

    async def is_healthy(self) -> bool:
        """Whether it serves, all of its streams included."""
        return await answers(self.monitor_port, "healthz", self.host)

    async def view(self, stream: str) -> Mapping[str, Any]:
        """What it knows of the group that keeps a stream: its `leader` and, where it leads, its `replicas`.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_SECONDS) as client:
            page = f"http://{self.host}:{self.monitor_port}/jsz?accounts=true&streams=true"
            found_ = (await client.get(page)).json().get("account_details") or []
        streams = [found for account in found_ for found in account.get("stream_detail") or []]
        return next((found.get("cluster") or {} for found in streams if found["name"] == stream), {})


async def answers(port: int, page: str, host: str = HOST) -> bool:
    """Whether a page of a process here says that all is well."""
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_SECONDS) as client:
        try:
            return (await client.get(f"http://{host}:{port}/{page}")).is_success
        except httpx.HTTPError:
            return False


def names(count: int) -> list[str]:
    """What so many servers are called."""
    return [f"nats-{number}" for number in range(1, count + 1)]


def nodes(network: Network, count: int) -> list[Node]:
    """So many servers on free ports of that network."""
    ports = iter(free_ports(3 * count))
    return [Node(name, network.host(name), next(ports), next(ports), next(ports)) for name in names(count)]


def spec(state: StateFolder, node: Node, peers: list[Node], network: Network) -> Spec:
    """The process of a node; writes its configuration."""
    folder = state.broker / node.name
    folder.mkdir(parents=True, exist_ok=True)
    file = configuration_file(state, node)
    file.write_text(configuration(state, node, peers))
    command = network.inside(node.name, (broker.nats_server_binary(), "--config", str(file)))
    return Spec(node.name, command, node.is_healthy)


def configuration_file(state: StateFolder, node: Node) -> Path:
    """Where the configuration of a node is."""
    return state.broker / node.name / "nats-server.conf"


def store(state: StateFolder, node: Node) -> Path:
    """Where a node keeps its streams."""
    return state.broker / node.name / "jetstream"


def configuration(state: StateFolder, node: Node, peers: list[Node], without: str = "") -> str:
    """As the demo's broker: what is acknowledged is on the disk, and every user has its account. Of one user,
    `without`, it knows another key than that user has."""
    outsiders = outside.users(SHOP)
    users = {**nkeys.ensure(state.keys, nkeys.users(SERVICES, outsiders=outsiders))}
    if without:
        users |= nkeys.ensure(state.folder / "strangers", [without])
    routes = ", ".join(json.dumps(f"nats-route://{peer.host}:{peer.cluster_port}") for peer in peers)
    listen = f'listen: "{node.host}:{node.cluster_port}"'
    cluster = f"cluster {{ name: chaos, {listen}, no_advertise: true, routes: [{routes}] }}"
    return f"""\
server_name: {node.name}
listen: "{node.host}:{node.port}"
http: "{node.host}:{node.monitor_port}"
max_payload: {PAYLOAD_BYTES_MAX}
jetstream {{
  store_dir: {json.dumps(str(store(state, node).resolve()))}
  max_file_store: 100GB
  sync_interval: always
}}
{cluster if len(peers) > 1 else ""}
no_auth_user: {users["client"][0]}
{accounts.merged([accounts.with_outsiders(accounts.part_of("", SERVICES, users), outsiders, users)])}"""
