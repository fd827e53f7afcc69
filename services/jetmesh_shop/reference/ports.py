"""The demo's ports: the usual ones, those asked for, or free ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import click

from jetmesh.common.ports import HOST, free_ports, is_taken


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each thing that people or tools may want to reach, on loopback."""

    nats: int = 4222
    http: int = 8080
    smtp: int = 2525
    traces: int = 14318
    monitor: int = 8222


WHAT = {
    "nats": "NATS",
    "http": "the HTTP edge",
    "smtp": "mail",
    "traces": "traces",
    "monitor": "the broker's monitoring",
}


def chosen(wanted: Mapping[str, int], *, free: bool, own_broker: bool) -> Ports:
    """The ports to use, checked: `wanted` by name, the others as usual, or `free` ones.

    Raises:
        click.ClickException: a port is taken; the text says which and what to do.
    """
    ports = replace(any_free() if free else Ports(), **wanted)
    for name, port in asdict(ports).items():
        if (own_broker or name not in ("nats", "monitor")) and is_taken(port):
            raise click.ClickException(_busy(name, port))
    return ports


def any_free() -> Ports:
    """Five free ports."""
    return Ports(*free_ports(5))


def _busy(name: str, port: int) -> str:
    running = f", or use the server there: NATS_URL=nats://{HOST}:{port} jetmesh demo" if name == "nats" else ""
    return (
        f"port {port} ({WHAT[name]}) is taken. Take another one with --port {name}=NUMBER, or any free ones with "
        f"--free-ports{running}"
    )
