"""`jetmesh backup`: writes the whole mesh, as it is at one moment, to a folder while it runs."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import Target, reach, settings_of_target
from jetmesh.common import terminal
from jetmesh.common.terminal import Say
from jetmesh.operate.backup.manifest import Manifest
from jetmesh.operate.backup.take import Taking
from jetmesh.service import Service

ONE_STREAM = (
    "a single stream can't be backed up or restored: its events are causes and effects of events in other streams. "
    "Leave --stream out"
)


def refuse_one_stream(_context: click.Context, _parameter: click.Parameter, stream: str | None) -> None:
    """Refuse --stream, with the reason."""
    if stream:
        raise click.UsageError(ONE_STREAM)


one_stream = click.option("--stream", metavar="NAME", callback=refuse_one_stream, expose_value=False, hidden=True)
folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")


@click.command()
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@one_stream
@options.app
def backup(folder: Path, as_json: bool, app: str) -> None:
    """Write a backup of the whole mesh to DIR, which must be empty or not there, while it runs.

    It shows the mesh at one moment, the beginning of the backup: no event in it lacks its cause. It holds the personal
    data of the streams. Needs an operator's key.
    """
    progress = quiet if as_json else dim
    began = time.monotonic()
    taken = asyncio.run(_run(apps.load(app), settings_of_target(), folder, progress))
    seconds = time.monotonic() - began
    if as_json:
        terminal.show(summary(taken, folder, seconds))
    else:
        terminal.say(f"{len(taken.streams)} streams, {rate(taken, seconds)}, as of {taken.as_of}: {folder}")


async def _run(services: Sequence[Service], target: Target, folder: Path, progress: Say) -> Manifest:
    async with reach(target) as mesh:
        return await Taking(mesh.connection, services, mesh.settings.split, folder, progress).run()


def rate(backup: Manifest, seconds: float) -> str:
    """The size and the speed, in words."""
    megabytes = backup.held_bytes / 1e6
    return f"{megabytes:,.1f} MB of messages in {seconds:,.1f} s ({megabytes / seconds:,.1f} MB/s)"


def summary(backup: Manifest, folder: Path, seconds: float) -> dict[str, object]:
    """The same as JSON."""
    return {
        "folder": str(folder),
        "id": backup.id,
        "as_of": backup.as_of,
        "bytes": backup.bytes,
        "held_bytes": backup.held_bytes,
        "seconds": round(seconds, 3),
        "streams": {name: each.state["messages"] for name, each in backup.streams.items()},
    }


def quiet(_words: str) -> None:
    """Say nothing."""


def dim(words: str) -> None:
    """Print the progress on standard error."""
    terminal.say(words, dim=True, err=True)
