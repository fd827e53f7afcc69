"""`jetmesh console`: shows and operates a mesh in the browser."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.doctor import traces_of
from jetmesh.commands.target import Target, settings_of_target
from jetmesh.common import loop
from jetmesh.common.extras import brought_by
from jetmesh.common.terminal import say
from jetmesh.local.state import StateFolder
from jetmesh.local.tracing import jaeger_page
from jetmesh.settings import Settings, read
from jetmesh.topology import nkeys
from jetmesh.topology.accounts import API_PREFIX, CONSOLE, VIEWER


@click.command()
@click.option("--host", default=None, help="The address to listen on; else JETMESH_CONSOLE_HOST, else 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=None, help="Else JETMESH_CONSOLE_PORT, else 8088; 0: a free one."
)
@click.option("--read-only", is_flag=True, help="Nobody may change anything.")
@click.option("--hide-bodies", is_flag=True, help="Viewers see no bodies, which may be personal.")
@click.option("--monitor", default="", metavar="URL", help="The broker's monitoring address, for Health.")
@options.app
@options.state
@options.archive
def console(app: str, state: StateFolder, archive: Path | None, monitor: str, **given: Any) -> None:
    """Show the mesh in the browser, until Ctrl-C: flow, dead letters, stories, streams, contracts, health.

    The mesh is the one that NATS_URL names, else the one that runs on the state folder. On loopback everybody may use
    it; on another address it needs JETMESH_CONSOLE_TOKEN, or an OIDC proxy (JETMESH_CONSOLE_PROXIES).
    """
    with brought_by("console", "`jetmesh console`"):
        from jetmesh.console.added import PAGES, Added
        from jetmesh.console.effects import EFFECTS
        from jetmesh.console.link import Link
        from jetmesh.console.places import Places
        from jetmesh.console.serving import run
        from jetmesh.console.settings import ConsoleSettings
    services = apps.load(app)
    target = _as_console(settings_of_target(state=state), state, read_only=given["read_only"])
    said = {
        f"JETMESH_CONSOLE_{name.upper()}": str(value) for name, value in given.items() if value not in (None, False)
    }
    variables = {**target.variables, **said}
    settings = read(ConsoleSettings, variables)
    pages = [page for pages in apps.added(services, PAGES) for page in pages()]
    added = Added(pages, apps.added(services, EFFECTS))
    places = Places(
        state=state.folder if state.is_held else None,
        archive=archive or state.archive,
        monitor_url=monitor or str(target.endpoints.get("monitor_url", "")),
        sources=target.sources,
        telemetry=traces_of(target),
        jaeger_url=jaeger_page(),
    )

    def ready(url: str) -> None:
        say(f"The console is at {url}; Ctrl-C ends it. It shows {target.found}.")

    loop.run(run(services, Link(target.settings), settings, places, added, ready))


def _as_console(target: Target, state: StateFolder, *, read_only: bool) -> Target:
    """The target with the console's own account, where its broker is that of a mesh on this machine and nothing else
    is said."""
    seed = nkeys.seed_file(state.keys, VIEWER if read_only else CONSOLE)
    if "--nkey" not in target.endpoints.get("nats_args", ()) or not seed.exists():
        return target
    variables = {**target.variables, "JETMESH_NATS_NKEY_SEED": str(seed), "JETMESH_NATS_API_PREFIX": API_PREFIX}
    return replace(target, settings=read(Settings, variables), variables=variables)
