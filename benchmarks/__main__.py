"""`python -m benchmarks`: measure everything or a part, print one table, keep it as JSON, Markdown and a chart."""

import signal
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    scene,
    shared_core,
    stored,
)
from benchmarks.figures import Row
from benchmarks.processes import bytecode
from benchmarks.progress import Missing, Step
from benchmarks.scene import Shared
from jetmesh.common import loop
from jetmesh.common.garbage import collect_seldom

FULL = {"backlog": 100_000, "stored": 3_000_000}
BRIEF = {"rounds": 2, "messages": 6_000, "orders": 4_000, "seconds": 5.0, "backlog": 2_000, "stored": 11_000}
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


ALONE: Mapping[str, Callable[[Size, Step], Awaitable[list[Row]]]] = {
    "hop": lambda size, step: hop.run(size.messages, size.rounds, step),
    "newer-python": lambda size, step: runtimes.newer_python(size.messages, max(1, size.rounds // 2), step),
    "go": lambda size, step: runtimes.go(size.messages, size.rounds // 2 + 1, step),
    "overload": lambda size, step: overload.run(7.5 * size.seconds, step),
    "stored": lambda size, step: stored.run(size.orders // 20, size.rounds // 2 + 1, size.stored, step),
    "failing": lambda size, step: failing.run(3 * size.seconds, max(1, size.rounds // 4), step),
    "replicas": lambda size, step: replicas.run(size.orders // 2, step),
    "shop": lambda _, step: order_page.run(step),
    "chat": lambda size, step: chat.run(size.seconds, step),
}
"""Parts that start what they need."""
SHARED: Mapping[str, Callable[[Size], Shared]] = {
    "mesh": lambda size: mesh.part(size.orders),
    "latency": lambda size: latency.part(size.seconds),
    "shared-core": lambda size: shared_core.part(size.seconds),
    "memory": lambda size: memory.part(size.backlog),
    "hot-article": lambda size: hot_article.part(size.orders // 10),
    "one-process": lambda size: one_process.part(size.orders // 10),
    "console": lambda size: console.part(size.seconds),
    "footprint": lambda size: footprint.part(size.orders // 5),
}
"""Parts that share their meshes, in the order in which they are measured: a burst comes first, and what stops the
services last."""
PARTS = (*ALONE, *SHARED)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS, "all"]))
@click.option("--rounds", default=5, show_default=True, help="Alternating rounds of a hop.")
@click.option("--messages", default=10_000, show_default=True, help="Messages of a hop.")
@click.option("--orders", default=10_000, show_default=True, help="Orders of a mesh.")
@click.option("--seconds", default=8.0, show_default=True, help="How long each rate lasts.")
@click.option("--backlog", default=4_000, show_default=True, help="Orders that wait before the mesh starts.")
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
    quiet.adopt_orphans()
    collect_seldom()  # it reads what whole meshes have recorded
    with bytecode():
        course = loop.run(measure(chosen, Size(**size)))
    rows = course.finished()
    report.write_json(RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json", rows)
    Console(width=None if sys.stdout.isatty() else report.WIDTH).print(report.table(rows))
    for note in [*course.missing, *report.noise(rows)]:
        click.echo(note)
    if write:
        publish(rows)
    if course.has_failed:
        raise SystemExit(1)


async def measure(chosen: Sequence[str], size: Size) -> "Course":
    """One part after the other, so that none disturbs another."""
    columns = (SpinnerColumn(), TextColumn("{task.fields[part]:17} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        course = Course(progress, len(chosen), expected(chosen))
        for part in chosen:
            if part in ALONE:
                with course.measuring(part) as step:
                    course.rows += [*await ALONE[part](size, step)]
        shared = {part: SHARED[part](size) for part in SHARED if part in chosen}
        for rows in (await scene.measured(shared, course.measuring)).values() if shared else ():
            course.rows += rows
    return course


def expected(chosen: Sequence[str]) -> str:
    """How long the parts took in the run that is published."""
    seconds = {row.part: row.seconds for row in report.read_json(PUBLISHED)}
    minutes = sum(seconds.get(part, 0.0) for part in chosen) / 60
    return f"about {minutes:.0f} min in the run that is published" if minutes >= 1 else ""


class Course:
    """What was measured so far: rows, who disturbed a part, how long each took, and why some are missing."""

    def __init__(self, progress: Progress, parts: int, about: str) -> None:
        self._progress, self._parts, self._began = progress, parts, time.monotonic()
        self._whole = progress.add_task(about, total=parts, part=f"{parts} parts")
        self._tasks: dict[str, TaskID] = {}
        self._noise: defaultdict[str, list[str]] = defaultdict(list)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.rows: list[Row] = []
        self.missing: list[str] = []
        self.has_failed = False

    @contextmanager
    def measuring(self, part: str) -> Iterator[Step]:
        """The part is measured for the block, perhaps not for the first time."""
        if part not in self._tasks:
            number = len(self._tasks) + 1
            self._tasks[part] = self._progress.add_task("", total=None, part=f"{number}/{self._parts} {part}")
            self._progress.update(self._whole, completed=number, part=f"{number} of {self._parts} parts")
        show = partial(self._show, self._tasks[part])
        before, began = quiet.snapshot(), time.monotonic()
        try:
            yield show
        except Missing as reason:
            self.missing.append(f"{part} is left out: {reason}")
            show("left out")
        except Exception as error:  # the figures of the other parts are kept
            self.missing.append(f"{part} has failed: {type(error).__name__}: {error}")
            self.has_failed = True
            show("failed")
        else:
            self._noise[part] += quiet.disturbances(before, quiet.snapshot())
            self._seconds[part] += time.monotonic() - began
            show(", ".join(self._noise[part]) or f"measured, {self._seconds[part]:,.0f} s")

    def finished(self) -> list[Row]:
        """All rows, with their day, with what disturbed them and how long their part took; and how long all parts did,
        if they are all there."""
        day = report.today()
        rows = [
            replace(row, noise=", ".join(self._noise[row.part]), day=day, seconds=self._seconds[row.part])
            for row in self.rows
        ]
        if set(self._seconds) == set(PARTS):
            minutes = (time.monotonic() - self._began) / 60
            rows.append(Row("whole", "`just bench`, all parts", "jetmesh", minutes, "min", day=day))
        return rows

    def _show(self, task: TaskID, step: str) -> None:
        self._progress.update(task, description=step)


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
