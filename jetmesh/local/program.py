"""A program beside the mesh, such as one that keeps spans: run until a signal ends it."""

from collections.abc import Coroutine
from typing import Any

import click

from jetmesh.common import loop
from jetmesh.common.private_files import keep_private
from jetmesh.common.signals import until_signalled


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until SIGTERM or SIGINT; what the program writes is for its owner alone.

    Raises:
        click.ClickException: a port is taken, or a file can't be used.
    """
    keep_private()
    try:
        loop.run(until_signalled(serving))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
