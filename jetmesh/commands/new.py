"""`jetmesh new`: the files to begin with."""

from pathlib import Path

import click

from jetmesh import scaffold
from jetmesh.common.terminal import say


@click.group()
def new() -> None:
    """Begin something: its files, ready to run and to test."""


@new.command()
@click.argument("name")
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="The folder that it goes into."
)
def service(name: str, into: Path) -> None:
    """Make a service NAME with a reaction, a contract and tests that pass."""
    for file in scaffold.service(name, into):
        say(file)
    say(f"next: cd {into / name} && pytest")
