"""The chart of the hop as SVG: one bar a contender, readable on a light and on a dark page."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from benchmarks.figures import Row

WIDTH, LABEL_WIDTH, FIGURE_WIDTH = 760, 200, 110
BAR, GAP, TITLE = 22, 8, 34
OURS, THEIRS, INK = "#2f81f7", "#8b949e", "#7d8590"


def write(path: Path, rows: Sequence[Row]) -> None:
    """Rates of rows that say messages a second, a group of bars for each thing measured."""
    rates = [row for row in rows if row.part == "hop" and row.unit == "/s"]
    longest = max((row.value for row in rates), default=1.0)
    parts, height = [], 0
    for what, group in groupby(rates, key=lambda row: row.what):
        parts.append(_text(0, height + TITLE - 12, f"{what}, messages a second", weight="bold"))
        height += TITLE
        for row in group:
            parts.append(_bar(row, height, longest))
            height += BAR + GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(parts)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="14" role="img">\n{body}\n</svg>\n'
    )


def _bar(row: Row, top: int, longest: float) -> str:
    width = round((WIDTH - LABEL_WIDTH - FIGURE_WIDTH) * row.value / longest)
    colour = OURS if row.who == "jetmesh" else THEIRS
    return "\n".join(
        (
            _text(0, top + 16, row.who),
            f'<rect x="{LABEL_WIDTH}" y="{top}" width="{width}" height="{BAR}" rx="3" fill="{colour}"/>',
            _text(LABEL_WIDTH + width + 8, top + 16, f"{row.value:,.0f}"),
        )
    )


def _text(left: int, baseline: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{left}" y="{baseline}" fill="{INK}" font-weight="{weight}">{escape(text)}</text>'
