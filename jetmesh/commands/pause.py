"""`jetmesh pause`: lets a reaction rest for a while."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import click

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import reach, settings_of_target
from jetmesh.common.own_name import own_name
from jetmesh.common.terminal import say
from jetmesh.jetstream.api import FOR_GOOD
from jetmesh.operate import pausing
from jetmesh.operate.operator_log import OperatorLog
from jetmesh.topology.streams import topology


class Moment(click.ParamType[datetime]):
    """A time with its zone: `2026-11-30T06:00:00Z`."""

    name = "time"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> datetime:
        """The text as a time."""
        with contextlib.suppress(ValueError):
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            if found.tzinfo is not None:
                return found
        self.fail(f"{value!r} is not a time with its zone: write 2026-11-30T06:00:00Z", parameter, context)


@click.command()
@click.argument("reaction")
@click.option("--for", "length", type=options.Duration(), help="Resume by itself after so long: 90m, 1h.")
@click.option("--until", "end", type=Moment(), metavar="TIME", help="Resume by itself then: 2026-11-30T06:00:00Z.")
@options.app
def pause(reaction: str, length: timedelta | None, end: datetime | None, app: str) -> None:
    """Let a REACTION (notifications.send), or a whole service, rest: what comes meanwhile waits in the broker.

    It holds for all processes, and for those that start later. What they have in their hands they finish. Without --for
    and --until it rests until `jetmesh resume`.
    """
    if length is not None and end is not None:
        raise click.UsageError("give --for or --until, not both")
    until = end or datetime.now(UTC) + (FOR_GOOD if length is None else length)
    try:
        if length is not None or end:
            pausing.require_ahead(until)
    except pausing.WrongTime as wrong:
        raise click.BadParameter(str(wrong), param_hint="--until" if end else "--for") from None
    asyncio.run(set_pause(reaction, until, app))
    when = f" until {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if length is not None or end else ""
    say(f"{reaction} rests{when}; `jetmesh resume {reaction}` lets it go on")


async def set_pause(reaction: str, until: datetime | None, app: str) -> None:
    """Pause a reaction until then, or resume it (None).

    Raises:
        click.ClickException: there is no such reaction, or the broker lacks its durables.
    """
    services = apps.load(app)
    async with reach(settings_of_target()) as mesh:
        needed = topology(services, split=mesh.settings.split)
        try:
            chosen = pausing.durables_of(reaction, services, needed.consumers)
        except pausing.NoSuchReaction as unknown:
            raise click.BadParameter(str(unknown), param_hint="REACTION") from None
        missing = await pausing.pause_all(mesh.connection, chosen, until)
        if not missing:
            await OperatorLog(mesh.publisher, own_name()).note_pause(reaction, until)
    if missing:
        names = ", ".join(f"{each.stream}/{each.durable}" for each in missing)
        raise click.ClickException(f"the broker has no {names}: run `jetmesh topology apply`")
