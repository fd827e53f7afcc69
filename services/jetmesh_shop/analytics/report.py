"""The report on a terminal: orders, revenue, time to confirmation, and the last hour by minute."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jetmesh_contracts.money import money

Row = Mapping[str, Any]
Report = Mapping[str, Sequence[Row]]

PERCENTILES = ("p50", "p95", "p99")


def render(report: Report) -> RenderableType:
    """The answers of `Warehouse.report` as tables, in reading order."""
    tables = orders(report["orders"][0]), confirmation(report["confirmation"][0]), revenue(report["revenue"])
    return Group(*(part for table in (*tables, minutes(report)) for part in (table, Text())))


def orders(counts: Row) -> Table:
    """How many orders came and how they ended."""
    table = figures("orders", ["placed", "confirmed", "cancelled", "refused", "pending", "conversion"])
    ends = [f"{counts[name]:,}" for name in ("placed", "confirmed", "cancelled", "refused", "pending")]
    table.add_row(*ends, share(counts["conversion"]))
    return table


def confirmation(times: Row) -> Table:
    """How long it took from the click to the promise."""
    table = figures("time to confirmation", PERCENTILES)
    table.add_row(*(duration(times[f"{name}_seconds"]) for name in PERCENTILES))
    return table


def revenue(rows: Sequence[Row]) -> Table:
    """What was captured, by currency."""
    table = figures("revenue", ["currency", "payments", "captured"])
    for row in rows:
        table.add_row(row["currency"], f"{row['payments']:,}", money(row["captured_minor"], row["currency"]))
    return table


def minutes(report: Report) -> Table:
    """The last hour in which orders came, newest minute first."""
    table = figures("by minute", ["minute", "placed", "confirmed", "cancelled", "p50", "p95"])
    for row in report["minutes"]:
        counts = [f"{row[name]:,}" for name in ("placed", "confirmed", "cancelled")]
        table.add_row(row["minute"], *counts, duration(row["p50_seconds"]), duration(row["p95_seconds"]))
    return table


def figures(title: str, names: Sequence[str]) -> Table:
    """An empty table of right-aligned figures."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(name, justify="right", header_style="dim")
    return table


def share(part: float | None) -> str:
    """A part of one, in per cent."""
    return "–" if part is None else f"{part:.1%}"


def duration(seconds: float | None) -> str:
    """Milliseconds below a second, else seconds."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
