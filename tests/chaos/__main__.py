"""`just chaos`: the real mesh under load while faults strike; exit 1 unless the audit is clean afterwards."""

import asyncio
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from jetmesh.common.tables import sheet
from jetmesh.common.terminal import Say
from jetmesh.local.state import StateFolder
from jetmesh_shop.reference.checks import sent_again
from tests.chaos.arena import Wishes
from tests.chaos.play import Result, UnknownFault, play
from tests.chaos.wrapped import BUGS

console = Console(highlight=False)
CLUSTER_NODES = 3


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed strikes in the same order.")
@click.option("--orders", type=click.IntRange(1), default=2_000, show_default=True)
@click.option("--seconds", type=click.FloatRange(5), default=60.0, show_default=True, help="How long faults strike.")
@click.option("--deadline", type=click.FloatRange(1), default=40.0, show_default=True,
              help="Seconds after which an order that has not ended is cancelled.")  # fmt: skip
@click.option("--cluster", is_flag=True, help="Three brokers, each stream on all of them, and faults at the leaders.")
@click.option("--two-apps", is_flag=True, help="Another team's app on the broker, which is upgraded and rolled back.")
@click.option("--only", multiple=True, metavar="KIND", help="This kind of fault; may be repeated.")
@click.option("--bug", type=click.Choice(list(BUGS)), default=None, help="Plant a bug: the audit must not be clean.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave logs and data in this folder.")
@click.option("-v", "--verbose", is_flag=True, help="Say which fault struck, and which process ends and comes back.")
def main(*, cluster: bool, bug: str | None, keep: Path | None, verbose: bool, **asked: object) -> None:
    """Strike the mesh with every kind of fault while customers order, heal it, and audit the books."""
    wishes = Wishes(nodes=CLUSTER_NODES if cluster else 1, bug=bug or "", **asked)  # type: ignore[arg-type]
    with _state(keep) as state, state.held():
        try:
            result = asyncio.run(_until_stopped(wishes, state, console.print if verbose else _nothing))
        except UnknownFault as unknown:
            raise click.UsageError(str(unknown)) from None
    console.print(render(result))
    raise SystemExit(result.audit.is_clean if bug else not result.is_good)


async def _until_stopped(wishes: Wishes, state: StateFolder, tell: Say) -> Result:
    """The run; a signal ends it in order, with every process that it started."""
    playing = asyncio.ensure_future(play(wishes, state, tell))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    return await playing


@contextmanager
def _state(keep: Path | None) -> Iterator[StateFolder]:
    if keep:
        yield StateFolder(keep)
        return
    with tempfile.TemporaryDirectory(prefix="jetmesh-chaos-", ignore_cleanup_errors=True) as folder:
        yield StateFolder(Path(folder))


def _nothing(_words: str) -> None:
    """Say nothing."""


def render(result: Result) -> RenderableType:
    """The books, then the faults, then what they cost."""
    strikes = sheet("fault", "struck")
    for kind, count in result.struck.items():
        strikes.add_row(kind, str(count) if count else "[bold red]never[/]")
    for kind, why_not in result.impossible.items():
        strikes.add_row(kind, f"[yellow]not possible here: {why_not}[/]")
    figures = result.figures
    costs = sheet("orders", "again", "poison", "faults", "redelivered", "refused", "mails again", "drained")
    costs.add_row(
        f"{figures.placed:,}", f"{figures.duplicates:,}", f"{figures.poisoned:,}", f"{sum(result.struck.values()):,}",
        f"{figures.redeliveries:,}", f"{figures.refusals.total():,}",
        f"{len(sent_again(result.audit.books)):,}", f"{figures.drain_seconds:.1f} s",
    )  # fmt: skip
    notes = [Text(f"still waiting: {wait}", "bold red") for wait in result.waits]
    notes += [Text(f"wrong in restored streams: {offence}", "bold red") for offence in figures.offences]
    notes += [Text(f"the warehouse differs: {difference}", "bold red") for difference in result.differences]
    if figures.placed_again:
        notes.append(Text(f"placed again, since a restore had undone them: {figures.placed_again} orders", "dim"))
    notes += [Text(f"in the other app: {wrong}", "bold red") for wrong in result.of_the_other_app]
    notes += [Text(f"cancelled before its time was up: {key}", "bold red") for key in result.early]
    notes += [Text(f"given up, and kills nobody: {subject}", "bold red") for subject in result.bystanders]
    notes += [Text(f"came to nothing, {count} times: {what}", "dim") for what, count in figures.prevented.items()]
    return Group(result.audit.as_tables(), Text(), strikes, Text(), costs, *notes)


if __name__ == "__main__":
    main()
