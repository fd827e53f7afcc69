"""Where a running mesh is reached: `endpoints.json` of a demo, else `NATS_URL`."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
from pydantic import BaseModel, Field, ValidationError

from jetmesh import settings
from jetmesh.commands.target import variables_of
from jetmesh.runtime.context import Context, connect
from jetmesh.telemetry import providers
from jetmesh_shop.reference.state import State

CONNECT_SECONDS = 5


class Endpoints(BaseModel):
    """The addresses and processes of a demo. `nats_args` are the arguments with which the `nats` CLI gets to its broker
    as an operator."""

    nats_url: str
    nats_args: list[str]
    http_url: str
    smtp_url: str
    traces_url: str
    monitor_url: str = Field(description="The broker's monitoring pages; empty where the broker is somebody else's.")
    health_urls: dict[str, str] = Field(description="/livez and /readyz of each service.")
    pids: dict[str, int]

    def write(self, path: Path) -> None:
        """Put the file there in one step: whoever sees it sees all of it."""
        fresh = path.with_suffix(".tmp")
        fresh.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
        fresh.replace(path)


def running(state: State) -> Endpoints | None:
    """The demo that runs on the folder; None where none does, whatever a crashed one left behind."""
    if not state.is_held or not state.endpoints.exists():
        return None
    try:
        return Endpoints.model_validate_json(state.endpoints.read_bytes())
    except ValidationError:
        raise click.ClickException(f"{state.endpoints} is damaged: stop the demo, and start it again") from None


@asynccontextmanager
async def reach(state: State) -> AsyncIterator[Context]:
    """A connection to the demo on the folder, else to the mesh that `NATS_URL` names.

    Raises:
        click.ClickException: neither is there.
    """
    demo = running(state)
    if not demo and not os.environ.get("NATS_URL"):
        raise click.ClickException(
            f"no demo runs in {state.folder}: start one with `jetmesh demo`, or name a broker with NATS_URL"
        )
    async with connected(demo.nats_args if demo else ()) as mesh:
        yield mesh


@asynccontextmanager
async def connected(nats_args: Sequence[str] = ()) -> AsyncIterator[Context]:
    """A connection that traces nothing, to where these arguments of the `nats` CLI lead, else to `NATS_URL`.

    Raises:
        click.ClickException: nobody answers there.
    """
    wait = os.environ.get("JETMESH_CONNECT_SECONDS") or str(CONNECT_SECONDS)
    variables = {**os.environ, **variables_of(nats_args), "JETMESH_CONNECT_SECONDS": wait}
    chosen = settings.read(settings.Settings, variables)
    try:
        async with connect(chosen, providers.start("jetmesh", {}), "jetmesh-cli") as mesh:
            yield mesh
    except ConnectionError as unreachable:
        raise click.ClickException(str(unreachable)) from unreachable
