"""`jetmesh new`: creates the files of a new service."""

from collections.abc import Iterable
from pathlib import Path

import click

from jetmesh import scaffold
from jetmesh.commands import options
from jetmesh.common.terminal import say
from jetmesh.contracts.scaffold import Draft


@click.group()
def new() -> None:
    """Create the files of something new, ready to run and to test."""


into = click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The folder to create it in."
)


@new.command()
@click.argument("name")
@into
def service(name: str, into: Path) -> None:
    """Create a service NAME with a reaction, a contract and tests that pass."""
    _say(scaffold.service(name, into), into / name, "pytest")


@new.command()
@click.argument("name")
@click.option("--event", default="parcels.sent", show_default=True, metavar="TYPE", help="The type of its event.")
@options.owner
@options.key
@into
def contracts(name: str, event: str, owner: str, key: str, into: Path) -> None:
    """Create a package of contracts NAME with one event, an example and a test that passes."""
    made = scaffold.contracts(name, into, Draft.of(event, owner, key))
    _say(made, into / name, "jetmesh contracts generate", "pytest")


def _say(files: Iterable[Path], folder: Path, *commands: str) -> None:
    """Name the files that were made, and what to do next."""
    for file in files:
        say(file)
    say(f"next: {' && '.join([f'cd {folder}', *commands])}")
