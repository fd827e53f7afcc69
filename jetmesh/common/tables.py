"""How tables of figures look."""

from collections.abc import Sequence

from rich.table import Table


def sheet(name: str, *figures: str) -> Table:
    """A table with a name in front of each row."""
    table = _table()
    table.add_column(name, style="cyan", header_style="bold", no_wrap=True)
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table


def row(*figures: tuple[str, str]) -> Table:
    """One row of figures under their names."""
    table = _table()
    for name, _ in figures:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(figure for _, figure in figures))
    return table


def counts(**figures: int) -> Sequence[tuple[str, str]]:
    """Numbers as people write them, with underscores in their names as spaces."""
    return [(name.replace("_", " "), f"{figure:,}") for name, figure in figures.items()]


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
