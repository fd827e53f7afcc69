"""The command `jetmesh`: the runtime's own commands, and those of other packages."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points

import click

from jetmesh.app import hidden_by
from jetmesh.commands.errors import advised, sentence
from jetmesh.common.exit_status import INTERRUPTED
from jetmesh.common.private_files import keep_private
from jetmesh.common.terminal import prepare, quiet_logs, say
from jetmesh.common.visible import lines

OWN = (
    "new",
    "run",
    "dev",
    "flow",
    "topology",
    "contracts",
    "validate",
    "example",
    "story",
    "load",
    "audit",
    "dlq",
    "archive",
    "blobs",
    "backup",
    "restore",
    "top",
    "doctor",
    "pause",
    "resume",
    "console",
    "projections",
)
"""The runtime's commands, each in the module of its name: `jetmesh run` imports only `run`."""


OF_THE_DEMO = ("bank", "demo", "order", "report")
"""What `jetmesh[demo]` adds."""

SHARED = (["new"], ["contracts"])
"""Commands that write source text, for developers with the repository."""


class Commands(click.Group):
    """The runtime's commands, then those of the entry point group `jetmesh.commands`; each is loaded when called."""

    def invoke(self, context: click.Context) -> object:
        """Run a command; its error text is escaped, because it may quote messages from outside."""
        try:
            return super().invoke(context)
        except click.ClickException as refused:
            refused.message = advised(lines(refused.message), refused)  # type: ignore[misc]
            raise
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def list_commands(self, context: click.Context) -> list[str]:
        """All names."""
        return [*OWN, *sorted(point.name for point in entry_points(group="jetmesh.commands"))]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name in OWN:
            own: click.Command = getattr(import_module(f"jetmesh.commands.{name}"), name)
            return own
        added = next(iter(entry_points(group="jetmesh.commands", name=name)), None)
        if added is None and name in OF_THE_DEMO:
            raise click.ClickException(f"{name} comes with the reference mesh: pip install 'jetmesh[demo]'")
        if added is None:
            return None
        try:
            command: click.Command = added.load()
        except ImportError as missing:
            raise click.ClickException(f"{name}: {missing}{hidden_by(added.module)}") from None
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jetmesh")
def commands() -> None:
    """Event-driven services on NATS JetStream: run, observe and repair them."""


def main(loaded: Callable[[], object] = lambda: None) -> None:
    """The entry point: an error is one line, not a traceback. `loaded` is called once a command is loaded."""
    if sys.stdin is None:  # it was closed
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)
    prepare((sys.stdout, sys.stderr))
    quiet_logs()
    if sys.argv[1:2] not in SHARED:
        keep_private()
    try:
        if sys.argv[1:2] == ["run"]:
            _stop_while_loading()
        else:
            _load(*sys.argv[1:2])
            loaded()
        commands()
    except Exception as error:
        say(f"jetmesh: {advised(sentence(error), error)}", fg="red", err=True)
        sys.exit(2)


def _load(name: str = "") -> None:
    """Load a command; if it can't be, click says so."""
    with suppress(click.ClickException):
        commands.get_command(click.Context(commands), name)


def _stop_while_loading() -> None:
    """End on SIGTERM while modules are loaded, which takes a second: the first process of a container ignores signals
    that have no handler."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
