"""`python -m benchmarks`: measure everything or a part, print one table, keep it as JSON, Markdown and a chart."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import (
    capacity,
    chart,
    chat,
    console,
    failing,
    footprint,
    hop,
    hot_article,
    latency,
    memory,
    mesh,
    one_process,
    order_page,
    overload,
    quiet,
    replicas,
    report,
    runtimes,
    shared_core,
    stored,
)
from benchmarks.figures import Row
from benchmarks.progress import Missing, Step

FULL = {"backlog": 100_000, "stored": 3_000_000}
BRIEF = {"rounds": 2, "messages": 5_000, "orders": 4_000, "seconds": 5.0, "backlog": 5_000, "stored": 11_000}
RESULTS = Path("benchmarks/results")
PUBLISHED = RESULTS / "published.json"
README, PAGE, CHART = Path("README.md"), Path("docs/performance.md"), Path("docs/performance.svg")
CAPACITY = Path("docs/capacity.md")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    messages: int
    orders: int
    backlog: int
    stored: int
    seconds: float


PARTS: Mapping[str, Callable[[Size, Step], Awaitable[list[Row]]]] = {
    "hop": lambda size, step: hop.run(size.messages, size.rounds, step),
    "newer-python": lambda size, step: runtimes.newer_python(size.messages, size.rounds, step),
    "go": lambda size, step: runtimes.go(size.messages, size.rounds, step),
    "mesh": lambda size, step: mesh.run(size.orders, step),
    "one-process": lambda size, step: one_process.run(size.orders // 4, step),
    "latency": lambda size, step: latency.run(size.seconds, step),
    "shared-core": lambda size, step: shared_core.run(size.seconds, step),
    "overload": lambda size, step: overload.run(4 * size.seconds, step),
    "memory": lambda size, step: memory.run(size.backlog, step),
    "stored": lambda size, step: stored.run(size.orders // 5, size.stored, step),
    "hot-article": lambda size, step: hot_article.run(size.orders // 4, step),
    "footprint": lambda size, step: footprint.run(size.orders // 5, step),
    "failing": lambda size, step: failing.run(2 * size.seconds, max(1, size.rounds // 2 + 1), step),
    "replicas": lambda size, step: replicas.run(size.orders // 2, step),
    "console": lambda size, step: console.run(size.orders // 5, 2 * size.seconds, step),
    "shop": lambda _, step: order_page.run(step),
    "chat": lambda size, step: chat.run(size.seconds, step),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS, "all"]))
@click.option("--rounds", default=5, show_default=True, help="Alternating rounds of a hop.")
@click.option("--messages", default=10_000, show_default=True, help="Messages of a hop.")
@click.option("--orders", default=10_000, show_default=True, help="Orders of a mesh.")
@click.option("--seconds", default=15.0, show_default=True, help="How long each rate lasts.")
@click.option("--backlog", default=20_000, show_default=True, help="Orders that wait before the mesh starts.")
@click.option("--stored", default=30_000, show_default=True, help="Orders that a mesh has stored already.")
@click.option("--full", is_flag=True, help="A backlog of 100,000 orders, and 3,000,000 stored ones, as the goals say.")
@click.option("--brief", is_flag=True, help="Everything at about a third of its size, for a look: not to be written.")
@click.option("--write", is_flag=True, help="Put the table into README.md and docs/, and draw the chart.")
def main(parts: tuple[str, ...], full: bool, brief: bool, write: bool, **size: Any) -> None:
    """Measure PARTS (all, if none is named) on real servers that are started and stopped here."""
    if brief and (full or write):
        raise click.UsageError("--brief is for a look: it goes with neither --full nor --write")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it stops what it started
    chosen = list(PARTS) if not parts or "all" in parts else list(parts)
    size |= FULL if full else BRIEF if brief else {}
    rows, missing = asyncio.run(measure(chosen, Size(**size)))
    Console(width=None if sys.stdout.isatty() else report.WIDTH).print(report.table(rows))
    for note in [*missing, *report.noise(rows)]:
        click.echo(note)
    report.write_json(RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json", rows)
    if write:
        publish(rows)


async def measure(chosen: Sequence[str], size: Size) -> tuple[list[Row], list[str]]:
    """One part after the other, so that none disturbs another; and what some of them did not find here."""
    rows: list[Row] = []
    missing: list[str] = []
    columns = (SpinnerColumn(), TextColumn("{task.fields[part]:17} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        whole = progress.add_task(f"of {len(chosen)} parts", total=len(chosen), part="0 done")
        for number, part in enumerate(chosen, 1):
            task = progress.add_task("", total=None, part=f"{number}/{len(chosen)} {part}")
            try:
                found = await _quietly(part, size, partial(_show, progress, task))
            except Missing as reason:
                missing.append(f"{part} is left out: {reason}")
                _show(progress, task, "left out")
            else:
                rows += found
                _show(progress, task, (found[0].noise if found else "") or "done")
            progress.update(task, total=1, completed=1)
            progress.update(whole, advance=1, part=f"{number} done")
    return rows, missing


async def _quietly(part: str, size: Size, step: Step) -> list[Row]:
    """A part's rows, with their day and with what disturbed them."""
    before = quiet.snapshot()
    measured = await PARTS[part](size, step)
    noise = ", ".join(quiet.disturbances(before, quiet.snapshot()))
    return [replace(row, noise=noise, day=report.today()) for row in measured]


def _show(progress: Progress, task: TaskID, step: str) -> None:
    progress.update(task, description=step)


def publish(rows: Sequence[Row]) -> None:
    """The figures into the pages that have a place for them, the chart beside them, the JSON into the repository. What
    was not measured now keeps its figures and its day."""
    if any(row.part == footprint.PART for row in rows):
        report.write_json(RESULTS / "footprint.json", [row for row in rows if row.part == footprint.PART])
        report.put_between_markers(CAPACITY, capacity.markdown(rows, report.about()))
    everything = report.merged(report.read_json(PUBLISHED), rows)
    chart.write(CHART, everything)
    report.write_json(PUBLISHED, everything)
    if len(headlines := report.headlines(rows)) == len(report.HEADLINES):
        report.put_between_markers(README, report.ratios(headlines, report.about()))
    about = f"{report.about()} {report.older(everything)}".strip()
    report.put_between_markers(PAGE, report.markdown(everything, about))


if __name__ == "__main__":
    main()
