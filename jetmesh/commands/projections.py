"""`jetmesh projections`: the read models in a service's own database, and which version of each is read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from rich.table import Table

from jetmesh.common.console import Console
from jetmesh.common.terminal import say
from jetmesh.sql import Postgres, ProjectionError, SQLite, TableMissing
from jetmesh.sql.projection import ProjectionVersion, drop_version
from jetmesh.sql.projection import projections as known

T = TypeVar("T")
SECOND = len("2026-11-30T06:00:00")
DATABASE = click.option(
    "--database",
    required=True,
    metavar="URL|FILE",
    help="The service's own: postgresql://… , or the file of an SQLite database.",
)


@click.group("projections")
def projections() -> None:
    """Read models in a database: which versions there are, and which one is read."""


@projections.command("list")
@DATABASE
def list_(database: str) -> None:
    """List the versions of each read model: what feeds it, whether it is being built, is read, or was dropped."""
    found = _on(database, known)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("projection", "version", "state", "since", "tables", "fed by"):
        table.add_column(column, overflow="fold", no_wrap=column == "projection")
    for name, versions in found.items():
        for each in versions:
            tables = "" if each.state == "dropped" else ", ".join(each.tables)
            since = (each.built_at or each.began_at)[:SECOND]
            table.add_row(name, str(each.version), _state(each), since, tables, each.reaction)
    Console().print(table)


@projections.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@DATABASE
def drop(name: str, version: int, database: str) -> None:
    """Remove the tables of a VERSION that is not read any more, or of one that is not to be built to its end.

    Its reaction's durable goes with `jetmesh topology apply --prune`, once no version of the app declares it.
    """
    for table in _on(database, lambda opened: drop_version(opened, name, version)):
        say(f"dropped: {table}")


def _state(of: ProjectionVersion) -> str:
    return f"{of.state}, read" if of.is_read else of.state


def _on(address: str, ask: Callable[[Any], Awaitable[T]]) -> T:
    """What is asked of a database.

    Raises:
        click.ClickException: it can't be opened, or refuses; the text says why.
    """

    async def asked() -> T:
        opened = Postgres(address) if address.startswith(("postgresql:", "postgres:")) else SQLite(address)
        async with opened as database:
            return await ask(database)

    try:
        return asyncio.run(asked())
    except (ConnectionError, ProjectionError, TableMissing) as refused:
        raise click.ClickException(str(refused)) from None
