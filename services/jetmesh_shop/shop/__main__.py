"""Serve the shop: `python -m jetmesh_shop.shop`. The broker and this program's key are those of the environment."""

import asyncio
from pathlib import Path
from typing import Any

import click
import httpx

import jetmesh
from jetmesh.common import loop
from jetmesh.common.signals import until_signalled
from jetmesh.http import Limits
from jetmesh.http.server import listen, serving
from jetmesh_shop.shop.app import create_app
from jetmesh_shop.shop.edge import OrdersApi
from jetmesh_shop.shop.evidence import Evidence
from jetmesh_shop.shop.state import Shop
from jetmesh_shop.shop.stock import Stock

FILE = click.Path(path_type=Path, dir_okay=False)
LIMITS = Limits(stop_seconds=2)


async def serve(host: str, port: int, edge_url: str, evidence: Evidence) -> None:
    """Serve until cancelled."""
    leaving = asyncio.Event()
    async with (
        httpx.AsyncClient(base_url=edge_url, trust_env=False) as client,
        jetmesh.connect(name="jetmesh-shop") as mesh,
    ):
        shop = Shop(mesh, OrdersApi(client), Stock(mesh), evidence, leaving)
        async with serving(create_app(shop), listen(host, port), LIMITS, leaving) as task:
            await asyncio.shield(task)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65_535), required=True)
@click.option("--edge-url", required=True, help="Where the orders' HTTP edge is.")
@click.option("--traces", type=FILE, help="The trace store of a mesh on one machine.")
@click.option("--mails", type=FILE, help="The mail sink of a mesh on one machine.")
@click.option("--jaeger-url", default="", help="A Jaeger whose pages are linked.")
def main(host: str, port: int, edge_url: str, **evidence: Any) -> None:
    """Serve the shop."""
    try:
        loop.run(until_signalled(serve(host, port, edge_url, Evidence(**evidence))))
    except (jetmesh.Unavailable, PermissionError, ValueError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
