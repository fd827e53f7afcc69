"""The command `jetmesh`: the runtime's own commands, and those that other packages add."""

import sys
from importlib.metadata import entry_points

import click

from jetmesh.commands.archive import archive
from jetmesh.commands.contracts import contracts
from jetmesh.commands.dlq import dlq
from jetmesh.commands.doctor import doctor
from jetmesh.commands.example import example
from jetmesh.commands.flow import flow
from jetmesh.commands.new import new
from jetmesh.commands.run import run
from jetmesh.commands.top import top
from jetmesh.commands.topology import topology
from jetmesh.commands.validate import validate
from jetmesh.failure import Unavailable
from jetmesh.provision import Drift


class Commands(click.Group):
    """Commands of the runtime, then those of the entry point group `jetmesh.commands`, loaded when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All names."""
        return [
            *super().list_commands(context),
            *sorted(point.name for point in entry_points(group="jetmesh.commands")),
        ]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        own = super().get_command(context, name)
        added = next(iter(entry_points(group="jetmesh.commands", name=name)), None)
        if own is not None or added is None:
            return own
        command: click.Command = added.load()
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jetmesh")
def commands() -> None:
    """Event-driven services on NATS JetStream: run them, see them, mend them."""


for command in (new, run, flow, topology, contracts, validate, example, dlq, archive, top, doctor):
    commands.add_command(command)


def main() -> None:
    """The entry point: what a user did wrong is one line, not a traceback."""
    try:
        commands()
    except (ValueError, TypeError, ConnectionError, LookupError, Drift, Unavailable) as error:
        click.secho(f"jetmesh: {error}", fg="red", err=True)
        sys.exit(2)
