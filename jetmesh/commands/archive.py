"""`jetmesh archive`: moves stories that ended long ago from the streams to Parquet files."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import click
from opentelemetry.metrics import Observation
from rich.table import Table

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.errors import needs_operator
from jetmesh.commands.target import Target, reach, settings_of_target
from jetmesh.common.console import Console
from jetmesh.common.terminal import Say, say
from jetmesh.common.terminal import show as present
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import broker_time
from jetmesh.jetstream.errors import ApiError
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.report import Report
from jetmesh.service import Service
from jetmesh.telemetry import providers
from jetmesh.topology.names import DEAD_LETTERS


class _When(NamedTuple):
    older_than: timedelta
    forget_after: timedelta | None


@click.command()
@click.option(
    "--older-than",
    type=options.Duration(),
    default="30d",
    show_default=True,
    help="Stories that ended longer ago than this.",
)
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), envvar="JETMESH_ARCHIVE",
              help="The archive; else JETMESH_ARCHIVE, else `archive` in the state folder.")  # fmt: skip
@click.option("--forget-after", type=options.Duration(), envvar="JETMESH_ARCHIVE_FORGET_AFTER", show_default="never",
              help="Remove the markers of an archived story so long after it was archived: a later message about its "
              "key then begins a new story. Else JETMESH_ARCHIVE_FORGET_AFTER.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be archived, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@options.app
def archive(
    older_than: timedelta,
    folder: Path | None,
    forget_after: timedelta | None,
    dry_run: bool,
    as_json: bool,
    app: str,
) -> None:
    """Archive stories that ended, and purge them from the streams; a small marker for each owner stays.

    A story has ended when each of its services has recorded one of its declared endings, every durable has
    acknowledged all its messages, and it has no delayed redelivery and no dead letter. Its markers guard it: late
    messages do nothing. Needs an operator's key. After a crash, run it again: it does the rest.
    """
    target = settings_of_target()
    kept = Archive(folder or target.settings.state / "archive")
    progress = (lambda _: None) if as_json else (lambda words: say(words, dim=True, err=True))
    report = asyncio.run(_run(apps.load(app), target, kept, _When(older_than, forget_after), (progress, dry_run)))
    if not dry_run:
        _measure(report)
    if as_json:
        present({"archive": str(kept.folder), **report.document()})
    else:
        show(report, kept.folder)


def _measure(report: Report) -> None:
    """Export the time at which the run succeeded: an alert fires if the next success is late."""
    observed = providers.start("archive")
    observed.meter.create_observable_gauge(
        "jetmesh.archive.last_success",
        [lambda _: [Observation(time.time())]],
        "s",
        "When the last run of the archive ended well, in seconds since 1970.",
    )
    archived = observed.meter.create_counter("jetmesh.archive.stories", "{story}", "Stories that went to the archive.")
    archived.add(report.stories)
    observed.shut_down()


async def _run(
    services: Sequence[Service], target: Target, kept: Archive, when: "_When", how: tuple[Say, bool]
) -> Report:
    progress, dry_run = how
    async with reach(target) as mesh:
        try:
            now = await broker_time(mesh.connection, DEAD_LETTERS)
            until = now - when.older_than
            forget_before = None if when.forget_after is None else now - when.forget_after
            job = Job(mesh.connection, services, kept, progress, mesh.settings.split, forget_before)
            if dry_run:
                return await job.run(until, dry_run=True)
            with kept.held():
                return await job.run(until)
        except (Unavailable, ApiError) as failed:
            if needs_operator(failed):
                raise
            raise Unavailable(f"{failed}; nothing done so far is lost: run it again") from failed


def show(report: Report, folder: Path) -> None:
    """Print what was archived and purged by stream, and which stories were kept and why."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("stream", "ended", "archived", "purged", "forgotten"):
        table.add_column(name, justify="left" if name == "stream" else "right", header_style="dim")
    for name, stream in report.streams.items():
        table.add_row(name, *(f"{count:,}" for count in astuple(stream)))
    console = Console()
    console.print(table)
    for why, count in report.reasons.items():
        console.print(f"kept: {count:,} {'story' if count == 1 else 'stories'}, each {why}")
    done = "would be archived in" if report.dry_run else "are archived in"
    console.print(f"{report.stories:,} stories that ended before {report.until} {done} {folder}")
