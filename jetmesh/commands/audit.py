"""`jetmesh audit`: checks from the stored messages, without any service, that nothing was lost or happened twice."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import show
from jetmesh.local.state import StateFolder
from jetmesh.operate.audit import AUDITS, AppAudit, Audit
from jetmesh.service import Service


@click.command()
@options.app
@options.state
@options.archive
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def audit(app: str, state: StateFolder, archive: Path | None, *, as_json: bool) -> None:
    """Check that nothing was lost and nothing happened twice; exit 1 with the offending ids otherwise.

    It reads only the streams and the archive, asks no service, and runs the app's own checks as well.
    """
    done = asyncio.run(_audit(apps.load(app), state, archive or state.archive))
    if as_json:
        show(done.as_json())
    else:
        Console().print(done.as_tables())
    raise SystemExit(not done.is_clean)


async def _audit(services: Sequence[Service], state: StateFolder, archive: Path) -> Audit[Any]:
    async with reach_running(state) as mesh:
        own: AppAudit[Any] = next(iter(apps.added(services, AUDITS)), AppAudit())
        return own.of(await own.collect(mesh, services, state.folder, archive))
