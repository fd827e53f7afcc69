"""The report on a terminal: orders, revenue, time to confirmation, and the last hour by minute."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jetmesh_contracts.money import money

Row = Mapping[str, Any]
Report = Mapping[str, Sequence[Row]]

COUNTS = ("placed", "confirmed", "cancelled", "refused", "pending")
PERCENTILES = ("p50", "p95", "p99")


def render(report: Report) -> RenderableType:
    """The answers of `Warehouse.report` as tables, in reading order."""
    orders, times = report["orders"][0], report["confirmation"][0]
    tables = (
        table("orders", [*COUNTS, "conversion"], [[*counts(orders, COUNTS), share(orders["conversion"])]]),
        table("time to confirmation", PERCENTILES, [durations(times, PERCENTILES)]),
        table(
            "revenue", ["currency", "payments", "captured"],
            [[row["currency"], f"{row['payments']:,}", money(row["captured_minor"], row["currency"])]
             for row in report["revenue"]],
        ),
        table(
            "by minute", ["minute", *COUNTS[:3], "p50", "p95"],
            [[row["minute"], *counts(row, COUNTS[:3]), *durations(row, PERCENTILES[:2])] for row in report["minutes"]],
        ),
    )  # fmt: skip
    return Group(*(part for each in tables for part in (each, Text())))


def table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Right-aligned figures."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in names:
        made.add_column(name, justify="right", header_style="dim")
    for row in rows:
        made.add_row(*row)
    return made


def counts(row: Row, names: Sequence[str]) -> list[str]:
    """How many of each."""
    return [f"{row[name]:,}" for name in names]


def durations(row: Row, percentiles: Sequence[str]) -> list[str]:
    """The time at each percentile."""
    return [duration(row[f"{name}_seconds"]) for name in percentiles]


def share(part: float | None) -> str:
    """A part of one, in per cent."""
    return "–" if part is None else f"{part:.1%}"


def duration(seconds: float | None) -> str:
    """Milliseconds below a second, else seconds."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
