"""The receiver as a process: ``python -m jetmesh_shop.reference.tracestore --path traces.sqlite --port 4318``."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

import click

from jetmesh.common.private_files import keep_private
from jetmesh.common.terminal import say
from jetmesh_shop.reference.tracestore.receiver import serve
from jetmesh_shop.reference.tracestore.store import SPANS_MAX


@click.command()
@click.option("--path", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The SQLite file.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=4318, show_default=True, help="0 takes a free one.")
@click.option("--spans-max", default=SPANS_MAX, show_default=True, help="The oldest beyond this are removed.")
@click.option("--forward", metavar="ENDPOINT", help="Send everything on: http://host:4318 or grpc://host:4317.")
def main(path: Path, host: str, port: int, spans_max: int, forward: str | None) -> None:
    """Receive OTLP over HTTP, keep the recent spans, print the endpoint once it listens."""
    keep_private()
    serving = serve(path, host, port, forward, say, spans_max=spans_max)
    try:
        asyncio.run(_until_signalled(serving))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


async def _until_signalled(serving: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(serving)
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main()
