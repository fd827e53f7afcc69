"""`jetmesh restore`: restores a backup into a broker without the mesh's streams, and audits it before it is used."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.backup import dim, folder_argument, one_stream, quiet, rate, summary
from jetmesh.commands.target import Target, reach, settings_of_target
from jetmesh.common import terminal
from jetmesh.common.terminal import Say
from jetmesh.local.state import StateFolder
from jetmesh.operate.audit import AUDITS, AppAudit
from jetmesh.operate.backup import manifest
from jetmesh.operate.backup.manifest import Manifest
from jetmesh.operate.backup.restore import AuditFailed, Restoring
from jetmesh.runtime.context import Context
from jetmesh.service import Service

OFFENCES_SHOWN = 20


@click.command()
@folder_argument
@click.option("--check", is_flag=True, help="Only check that the backup is complete; no broker is needed.")
@click.option("--despite-offences", is_flag=True, help="Open the mesh although the audit found errors.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@one_stream
@options.app
def restore(folder: Path, check: bool, despite_offences: bool, as_json: bool, app: str) -> None:
    """Restore the backup in DIR into a broker without the mesh's streams.

    The streams stay closed to services and clients until all are restored and the app's audit finds no error; exit 1
    if it finds one. If it is interrupted, run it again: it continues. Needs an operator's key.
    """
    progress = quiet if as_json else dim
    began = time.monotonic()
    if check:
        backup = manifest.read(folder)
        manifest.check(folder, backup, progress)
        if as_json:
            terminal.show(summary(backup, folder, time.monotonic() - began))
        else:
            terminal.say(f"{folder}: whole, {len(backup.streams)} streams as of {backup.as_of}")
        return
    try:
        backup, done = asyncio.run(_run(apps.load(app), settings_of_target(), folder, (progress, despite_offences)))
    except AuditFailed as offences:
        raise SystemExit(_refused(offences)) from None
    seconds = time.monotonic() - began
    if as_json:
        own = {"undone": done.undone, "audit_seconds": round(done.audit_seconds, 3), "withheld": done.withheld}
        terminal.show({**summary(backup, folder, seconds), **own})
        return
    restored = rate(backup, seconds - done.audit_seconds)
    audited = f"audited in {done.audit_seconds:,.1f} s"
    terminal.say(f"{len(backup.streams)} streams, {restored}, {audited}, as of {backup.as_of}")
    terminal.say(f"{sum(done.undone.values()):,} messages after that moment were left out; the services may start")
    for words in done.withheld:
        terminal.say(words)


async def _run(
    services: Sequence[Service], target: Target, folder: Path, how: tuple[Say, bool]
) -> tuple[Manifest, Restoring]:
    progress, despite_offences = how
    async with reach(target) as mesh:

        async def examine() -> list[str]:
            found = [offence for own in apps.added(services, AUDITS) for offence in await _audited(own, mesh, services)]
            return [] if despite_offences else found

        restoring = Restoring(mesh.connection, services, mesh.settings, folder, progress)
        return await restoring.run(examine), restoring


async def _audited(own: AppAudit[Any], mesh: Context, services: Sequence[Service]) -> list[str]:
    """What is wrong with the streams. What the outside world knows and they do not is told, and is no offence."""
    state = StateFolder(mesh.settings.state)
    found = await own.collect(mesh, services, state.folder, state.archive)
    for words in own.unknown(found):
        terminal.say(words, fg="yellow", err=True)
    return own.of_restored(found)


def _refused(offences: AuditFailed) -> int:
    for offence in offences.found[:OFFENCES_SHOWN]:
        terminal.say(offence, fg="red", err=True)
    if len(offences.found) > OFFENCES_SHOWN:
        terminal.say(f"… and {len(offences.found) - OFFENCES_SHOWN:,} more", fg="red", err=True)
    terminal.say(
        "the streams are restored and stay closed: restore another backup (remove these streams first), or open them "
        "with --despite-offences", fg="red", err=True,
    )  # fmt: skip
    return 1
