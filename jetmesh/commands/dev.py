"""`jetmesh dev`: runs the mesh of any app on this machine: its broker, its topology, its services."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import connected_with
from jetmesh.local import ports, tracing
from jetmesh.local.backing import BACKING, NONE, BackingServices
from jetmesh.local.lifecycle import Lifecycle, run
from jetmesh.local.plan import Plan, plan, their_broker
from jetmesh.local.state import StateFolder
from jetmesh.local.view import View
from jetmesh.topology.accounts import OPERATOR

PYTHON = (sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m")
"""The services look for their app in the same folder as this command."""


@click.command()
@options.app
@options.state
@ports.option
def dev(app: str, state: StateFolder, wanted: Mapping[str, int]) -> None:
    """Run the services of an app on this machine, with a broker and what else they need, until Ctrl-C.

    The data stay in the state folder: the next start uses them. A service that ends is started again. NATS_URL names a
    broker to use instead. Ports are free ones if not set; `--port NUMBER` is the broker's.
    """
    services = apps.load(app)
    own: BackingServices = tracing.where_possible(next(iter(apps.added(services, BACKING)), NONE))
    view = View(services)

    def planned() -> Plan:
        found = ports.chosen(own.ports, wanted, free=True, own_broker=not their_broker())
        return replace(plan(apps.reference_of(app), services, state, found, own), python=PYTHON)

    async def play(here: Plan, mesh: Lifecycle) -> int:
        await mesh.start_foundation()
        async with connected_with(here.nats_args(OPERATOR)) as operator:
            await mesh.start_services(operator.connection)
            mesh.announce()
            await mesh.keep_contracts(operator)
        view.done("logs", f"{state.logs}{os.sep}")
        view.console.print("Ctrl-C stops all of it; `jetmesh console`, `story` and `doctor` find it by its folder.")
        await asyncio.Event().wait()
        return 0

    with state.held(state.folder / name for name in own.files):
        asyncio.run(run(state, view, planned, play))
