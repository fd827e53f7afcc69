"""`jetmesh blobs`: the objects that events name, and the removal of those that none names any more."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.table import Table

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import reach, settings_of_target
from jetmesh.common.console import Console
from jetmesh.common.terminal import say, show
from jetmesh.operate.blobs import KeptObject, objects
from jetmesh.operate.blobs import prune as prune_all

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON list, for programs.")


@click.group()
def blobs() -> None:
    """The objects that events name: list them, or remove those that no message names any more.

    Needs an operator's key.
    """


@blobs.command("list")
@JSON
@options.app
def list_(as_json: bool, app: str) -> None:
    """List the objects of the app's buckets, and whether a message names them."""
    found = asyncio.run(_look(app, None))
    if as_json:
        show([_document(each) for each in found])
    elif found:
        Console().print(_table(found))
    else:
        say("no objects")


@blobs.command()
@click.option("--older-than", type=options.Duration(), default="1d", show_default=True,
              help="Only what was stored longer ago: an event that names it may still be recorded.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and change nothing.")
@JSON
@options.app
def prune(older_than: timedelta, dry_run: bool, as_json: bool, app: str) -> None:
    """Remove the objects that no message names: of events that were archived, and of uploads that nobody finished.

    An event, a message from outside, a dead letter and a timer keep the object that they name.
    """
    left = asyncio.run(_look(app, older_than, dry_run=dry_run))
    if as_json:
        show([_document(each) for each in left])
        return
    size = sum(each.size or 0 for each in left)
    count = f"{len(left):,} {'object' if len(left) == 1 else 'objects'}"
    say(f"{count} of {size:,} bytes {'would be' if dry_run else 'were'} removed")


async def _look(app: str, older_than: timedelta | None, *, dry_run: bool = True) -> list[KeptObject]:
    """All objects; or those that are left over, which are removed."""
    services = apps.load(app)
    async with reach(settings_of_target()) as mesh:
        found = await objects(mesh.connection, services, mesh.settings.split)
        if older_than is None:
            return found
        left = [each for each in found if each.is_left(datetime.now(UTC) - older_than)]
        if not dry_run:
            await prune_all(mesh.connection, left)
        return left


def _document(each: KeptObject) -> dict[str, Any]:
    stored = each.stored.isoformat()
    return {"bucket": each.bucket, "name": each.name, "size": each.size, "stored": stored, "named": each.is_named}


def _table(found: Sequence[KeptObject]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("bucket", "name", "bytes", "stored", "named"):
        table.add_column(name, justify="right" if name == "bytes" else "left", header_style="dim")
    for each in found:
        size = "unfinished" if each.size is None else f"{each.size:,}"
        stored = f"{each.stored.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        table.add_row(each.bucket, each.name, size, stored, "yes" if each.is_named else "no")
    return table
