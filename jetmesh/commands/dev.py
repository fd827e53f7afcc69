"""`jetmesh dev`: runs the mesh of any app on this machine: its broker, its topology, its services."""

import asyncio
import os
import sys

import click

from jetmesh import app as apps
from jetmesh import settings
from jetmesh.commands import options
from jetmesh.commands.target import connected_with
from jetmesh.common.ports import HOST, free_ports
from jetmesh.common.signals import until_signalled
from jetmesh.common.terminal import say
from jetmesh.local.lifecycle import Lifecycle, clear, provide
from jetmesh.local.plan import Plan, health_ports, their_broker
from jetmesh.local.state import StateFolder
from jetmesh.settings import Settings
from jetmesh.topology.accounts import OPERATOR
from jetmesh.topology.streams import topology

PYTHON = (sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m")
"""The services look for their app in the same folder as this command."""


@click.command()
@options.app
@options.state
@click.option("--port", type=click.IntRange(1, 65_535), help="The broker's port; any free one if not set.")
def dev(app: str, state: StateFolder, port: int | None) -> None:
    """Run the services of an app on this machine, with a broker of their own, until Ctrl-C.

    The data stay in the state folder: the next start uses them. A service that ends is started again. NATS_URL names a
    broker to use instead.
    """
    chosen = settings.read(Settings)
    plan = _plan(app, state, chosen, port)
    with state.held():
        asyncio.run(_run(plan))


def _plan(app: str, state: StateFolder, chosen: Settings, port: int | None) -> Plan:
    services = apps.load(app)
    theirs = their_broker()
    own_port, monitor_port = free_ports(2)
    return Plan(
        app=apps.reference_of(app),
        services=services,
        state=state,
        nats_url=theirs or f"nats://{HOST}:{port or own_port}",
        own_broker=not theirs,
        health_ports=health_ports(services),
        monitor_port=monitor_port,
        split=chosen.split,
        python=PYTHON,
    )


async def _run(plan: Plan) -> None:
    await clear(plan.state, say)
    mesh = Lifecycle(plan.state, plan.endpoints, say)
    try:
        await until_signalled(_play(plan, mesh))
    finally:
        await mesh.stop()


async def _play(plan: Plan, mesh: Lifecycle) -> None:
    await mesh.start_foundation(plan.broker())
    say(f"broker    {plan.nats_url}")
    async with connected_with(plan.nats_args(OPERATOR)) as operator:
        needed = topology(plan.services, split=plan.split, app=apps.name_of(plan.services))
        made = await provide(operator.connection, needed)
    say(f"topology  {len(needed.streams)} streams, {len(needed.consumers)} durables; {made or 'none'} made now")
    await mesh.start_services([plan.service(service.name) for service in plan.services])
    mesh.announce()
    say(f"services  {', '.join(service.name for service in plan.services)}")
    say(f"logs      {plan.state.logs}{os.sep}")
    say("Ctrl-C stops all of it; `jetmesh top`, `story` and `doctor` find it by its folder.")
    await asyncio.Event().wait()
