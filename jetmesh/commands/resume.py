"""`jetmesh resume`: ends a pause."""

import asyncio

import click

from jetmesh.commands import options
from jetmesh.commands.pause import set_pause
from jetmesh.common.terminal import say


@click.command()
@click.argument("reaction")
@options.app
def resume(reaction: str, app: str) -> None:
    """Let a REACTION (notifications.send), or a whole service, go on after `jetmesh pause`."""
    asyncio.run(set_pause(reaction, None, app))
    say(f"{reaction} goes on")
