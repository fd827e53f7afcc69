"""`jetmesh load`: an app's events at a steady rate, whatever the mesh does, and how long each step of the flow took."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.options import Figure
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import show
from jetmesh.event import Event
from jetmesh.local.state import StateFolder
from jetmesh.operate import books
from jetmesh.operate.load import LOADS, Clicks, Load, drive, figures, intervals_of, latencies, table
from jetmesh.operate.progress import at_rest, endings
from jetmesh.service import Service
from jetmesh.topology.streams import topology

RATE_MAX, SECONDS_MAX = 100_000, 86_400


@click.command()
@options.app
@options.state
@click.option("--rate", type=Figure(0.1, RATE_MAX), default=100.0, show_default=True, help="Events a second.")
@click.option("--seconds", type=Figure(0.1, SECONDS_MAX), default=60.0, show_default=True, help="For how long.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same events.")
@click.option("--wait", type=Figure(0, SECONDS_MAX), help="Seconds for the last stories to end (60 + 2 × --seconds).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, latencies in milliseconds.")
def load(  # noqa: PLR0913  (one parameter for each option)
    app: str, state: StateFolder, rate: float, seconds: float, seed: int, wait: float | None, *, as_json: bool
) -> None:
    """Publish the app's events at a steady rate to a mesh that runs, and print how long each step took.

    The app declares the events (`jetmesh.loads`). Open loop: the rate holds whatever the mesh does, and each latency
    counts from the instant that the event was due.
    """
    services = apps.load(app)
    own = declared(services)
    events = list(own.events(secrets.token_hex(3), round(rate * seconds), seed))
    wait_seconds = 60 + 2 * seconds if wait is None else wait
    taken = asyncio.run(_load(services, state, events, own, (rate, wait_seconds)))
    if as_json:
        steps = {name: figures(step) | {own.what: len(step)} for name, step in taken.items()}
        show({"rate": rate, "seconds": seconds, "steps": steps})
    else:
        Console().print(table(taken, own.what))


def declared(services: Sequence[Service]) -> Load:
    """What the app publishes.

    Raises:
        click.ClickException: it declares no load.
    """
    for own in apps.added(services, LOADS):
        return own  # type: ignore[no-any-return]
    raise click.ClickException(
        f"this app declares no load: name a `Load` as an entry point of {LOADS}, or as `loads` in [tool.jetmesh] of "
        f"pyproject.toml"
    )


async def _load(
    services: Sequence[Service], state: StateFolder, events: Sequence[Event], own: Load, pace: tuple[float, float]
) -> Mapping[str, list[float]]:
    rate, wait_seconds = pace
    owners = {event.owner for event in events}
    async with (
        reach_running(state) as mesh,
        own.beside(mesh),
        endings(mesh, [service for service in services if service.name in owners]) as count,
    ):
        clicks: Clicks = await drive(mesh, events, rate)

        async def ended() -> bool:
            return not any(service.endings for service in services) or await count() >= len(events)

        needed = topology(services, split=mesh.settings.split)
        own_streams = {stream.name for stream in needed.streams}  # what other apps record is not waited for
        work = [each for each in needed.work if each.stream in own_streams]
        await at_rest(mesh.connection, work, ended, wait_seconds)
        found = await books.collect(mesh, services, state.archive)
        return latencies(found.stories, clicks, own.intervals or intervals_of(services))
