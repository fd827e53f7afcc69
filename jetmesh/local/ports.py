"""The ports of a mesh on one machine: the usual ones, those asked for, or free ones."""

from collections.abc import Mapping, Sequence

import click

from jetmesh.common.ports import HOST, free_ports, is_taken

BROKER = {"nats": 4222, "monitor": 8222}


def chosen(usual: Mapping[str, int], wanted: Mapping[str, int], *, free: bool, own_broker: bool) -> dict[str, int]:
    """A port for each of the `usual` names and for the broker: the `wanted` ones, the others usual or `free` ones.

    Raises:
        click.ClickException: a name is unknown, or a port is taken.
    """
    usual = {**BROKER, **usual}
    if unknown := wanted.keys() - usual.keys():
        raise click.BadParameter(f"--port {unknown.pop()}=…: there are {', '.join(usual)}")
    ports = {**(any_free(usual) if free else usual), **wanted}
    for name, port in ports.items():
        if (own_broker or name not in BROKER) and is_taken(port):
            raise click.ClickException(_busy(name, port))
    return ports


def any_free(names: Sequence[str] | Mapping[str, int]) -> dict[str, int]:
    """A free port for each name."""
    return dict(zip(names, free_ports(len(names)), strict=True))


def _busy(name: str, port: int) -> str:
    running = f", or use the server there: NATS_URL=nats://{HOST}:{port}" if name == "nats" else ""
    return (
        f"port {port} ({name}) is taken. Take another one with --port {name}=NUMBER, or any free ones with "
        f"--free-ports{running}"
    )


def parsed(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, int]:
    """The values of `--port`: `NAME=NUMBER` each; a number alone is the broker's."""
    wanted = {}
    for value in values:
        name, _, number = value.rpartition("=")
        if not (number.isascii() and number.isdecimal() and 0 < int(number) < 65_536):
            raise click.BadParameter(f"{value!r}: write NAME=NUMBER")
        wanted[name or "nats"] = int(number)
    return wanted


option = click.option(
    "--port", "wanted", multiple=True, callback=parsed, metavar="NAME=NUMBER",
    help="Another port for nats, monitor or what else the app has; may be repeated.",
)  # fmt: skip
free_option = click.option("--free-ports", "free", is_flag=True, help="Any free ports instead of the usual ones.")
