"""`jetmesh report`: orders, revenue, conversion and time to confirmation, as analytics has counted them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import show
from jetmesh.failure import Unavailable
from jetmesh.local.state import StateFolder
from jetmesh.sql import Warehouse, WarehouseBusy
from jetmesh_shop.analytics import report as tables
from jetmesh_shop.analytics.queries import ORDERS, QUERIES
from jetmesh_shop.reference.state import Stores

SUBJECT = "jetmesh.analytics.report"
TIMEOUT_SECONDS = 20.0

Report = Mapping[str, Sequence[Mapping[str, Any]]]


@click.command()
@options.state
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def report(state: StateFolder, *, as_json: bool) -> None:
    """Print orders, revenue, conversion and time to confirmation by minute.

    Asks the analytics service that runs; where none does, the file that it left in the state folder.
    """
    answer = _from_file(state) or asyncio.run(_from_service(state))
    if as_json:
        show(answer)
    else:
        Console().print(tables.render(answer))


def _from_file(state: StateFolder) -> Report | None:
    """What stands in the file; None where there is none, or analytics has it open."""
    if state.is_held or not Stores(state.folder).warehouse.exists():
        return None
    try:
        return Warehouse.read(Stores(state.folder).warehouse, QUERIES, ORDERS)
    except WarehouseBusy:
        return None


async def _from_service(state: StateFolder) -> Report:
    async with reach_running(state) as mesh:
        try:
            answer = await mesh.connection.ask(SUBJECT, b"", TIMEOUT_SECONDS)
        except Unavailable as silence:
            raise click.ClickException(f"analytics does not answer ({silence}): does it run?") from None
    found: Report = json.loads(answer)
    return found
