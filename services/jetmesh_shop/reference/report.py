"""`jetmesh report`: orders, revenue, conversion and time to confirmation, as analytics has counted them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.tables import sheet
from jetmesh.common.terminal import show
from jetmesh.failure import Unavailable
from jetmesh.local.state import StateFolder
from jetmesh.operate.timeline import duration
from jetmesh.sql import Warehouse, WarehouseBusy
from jetmesh_contracts.money import money
from jetmesh_shop.analytics.queries import ORDERS, QUERIES
from jetmesh_shop.reference.state import Stores

SUBJECT = "jetmesh.analytics.report"
TIMEOUT_SECONDS = 20.0
COUNTS = ("placed", "confirmed", "cancelled", "refused", "pending")
PERCENTILES = ("p50", "p95", "p99")
NONE = "–"

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
        Console().print(render(answer))


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


def render(report: Report) -> RenderableType:
    """The answers to QUERIES as tables, in reading order: orders, time to confirmation, revenue, the last hour."""
    (orders,), (times,) = report["orders"], report["confirmation"]
    conversion = NONE if orders["conversion"] is None else f"{orders['conversion']:.1%}"
    totals = sheet("orders", *COUNTS, "conversion")
    totals.add_row("", *_counts(orders, COUNTS), conversion)
    confirmation = sheet("time to confirmation", *PERCENTILES)
    confirmation.add_row("", *_times(times, PERCENTILES))
    revenue = sheet("revenue", "payments", "captured")
    for row in report["revenue"]:
        revenue.add_row(row["currency"], f"{row['payments']:,}", money(row["captured_minor"], row["currency"]))
    minutes = sheet("minute", *COUNTS[:3], *PERCENTILES[:2])
    for row in report["minutes"]:
        minutes.add_row(row["minute"], *_counts(row, COUNTS[:3]), *_times(row, PERCENTILES[:2]))
    return Group(*(part for each in (totals, confirmation, revenue, minutes) for part in (each, Text())))


def _counts(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [f"{row[name]:,}" for name in names]


def _times(row: Mapping[str, Any], percentiles: Sequence[str]) -> list[str]:
    seconds = (row[f"{name}_seconds"] for name in percentiles)
    return [NONE if taken is None else duration(round(taken * 1e9)) for taken in seconds]
