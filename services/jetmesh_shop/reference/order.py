"""`jetmesh order`: `jetmesh story` of an order."""

from pathlib import Path

import click

from jetmesh.commands import options
from jetmesh.commands.story import key_of, print_story
from jetmesh.local.state import StateFolder
from jetmesh_shop.flow import SERVICES


@click.command()
@click.argument("order_id", metavar="ID", callback=key_of)
@options.state
@options.archive
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def order(order_id: str, state: StateFolder, archive: Path | None, *, as_json: bool) -> None:
    """Print the story of an order: who reacted to what, when, for how long, and how it ended.

    Against a mesh elsewhere (NATS_URL), spans come from the Jaeger that JETMESH_JAEGER_URL names.
    """
    print_story(SERVICES, order_id, state, archive or state.archive, as_json=as_json, name="order_id")
