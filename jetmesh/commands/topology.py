"""`jetmesh topology`: the streams and durables that the services need, and what the broker has."""

import asyncio
from collections.abc import Sequence

import click

from jetmesh import app as apps
from jetmesh import provision, settings
from jetmesh.commands import options
from jetmesh.connection import Connection
from jetmesh.mesh import connect_options
from jetmesh.provision import Change, Step
from jetmesh.service import Service
from jetmesh.topology import topology as needed

COLOURS = {Change.CREATE: "green", Change.UPDATE: "yellow", Change.REFUSE: "red", Change.KEEP: None}


@click.group()
def topology() -> None:
    """Streams and durable consumers, from the services' signatures to the broker. Deletes nothing."""


@topology.command()
@options.app
def plan(app: str) -> None:
    """Show the difference between what the services need and what the broker has; exit 1 if there is one."""
    steps = asyncio.run(_plan(apps.load(app), settings.read(settings.Settings), carry_out=False))
    show(steps)
    raise SystemExit(any(step.change is not Change.KEEP for step in steps))


@topology.command()
@options.app
def apply(app: str) -> None:
    """Make the broker have what the services need."""
    steps = asyncio.run(_plan(apps.load(app), settings.read(settings.Settings), carry_out=True))
    show(steps)


def show(steps: Sequence[Step]) -> None:
    """Print a plan: each change in its colour, what stays as a number."""
    for step in steps:
        if step.change is not Change.KEEP:
            click.secho(str(step), fg=COLOURS[step.change])
    click.echo(f"{sum(step.change is Change.KEEP for step in steps)} of {len(steps)} are as needed")


async def _plan(services: Sequence[Service], chosen: settings.Settings, *, carry_out: bool) -> list[Step]:
    connection = Connection()
    await connection.open(chosen.nats_url, "jetmesh-topology", connect_timeout=2, **connect_options(chosen))
    try:
        steps = await provision.plan(connection, needed(services, chosen.replicas, chosen.ack_wait_seconds))
        if carry_out:
            await provision.apply(connection, steps)
        return steps
    finally:
        await connection.close()
