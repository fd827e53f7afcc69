"""`jetmesh load`: orders at a steady rate, whatever the mesh does, and how long each step of the flow took."""

import asyncio
import secrets
import time
from collections.abc import Sequence

import click

from jetmesh.commands import options
from jetmesh.commands.options import Figure
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import show
from jetmesh.local.state import StateFolder
from jetmesh.operate.load import Interval, drive, figures, latencies, table
from jetmesh.operate.progress import gauge
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.reference import mix
from jetmesh_shop.reference.audit import collect
from jetmesh_shop.reference.books import ENDINGS, PLACED
from jetmesh_shop.reference.checks import AUTHORIZED, CANCELLED, CAPTURED, CONFIRMATION, CONFIRMED, RECEIPT, RESERVED

POLL_SECONDS = 0.5
RATE_MAX, SECONDS_MAX = 100_000, 86_400
STEPS = (
    Interval("intake", "", PLACED),
    Interval("hold the money", PLACED, AUTHORIZED),
    Interval("reserve the goods", PLACED, RESERVED),
    Interval("promise", PLACED, CONFIRMED),
    Interval("give up", PLACED, CANCELLED),
    Interval("take the money", CONFIRMED, CAPTURED),
    Interval("confirm by mail", CONFIRMED, CONFIRMATION),
    Interval("send the receipt", CAPTURED, RECEIPT),
    Interval("click to promise", "", CONFIRMED),
)


@click.command()
@options.state
@click.option("--rate", type=Figure(0.1, RATE_MAX), default=100.0, show_default=True, help="Orders a second.")
@click.option("--seconds", type=Figure(0.1, SECONDS_MAX), default=60.0, show_default=True, help="For how long.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same orders.")
@click.option(
    "--wait", type=Figure(0, SECONDS_MAX), help="Seconds for the last orders to end (60, and twice --seconds)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, latencies in milliseconds.")
def load(state: StateFolder, rate: float, seconds: float, seed: int, wait: float | None, *, as_json: bool) -> None:
    """Place orders at a steady rate on a mesh that runs, and print how long each step took.

    Open loop: the rate holds whatever the mesh does, and each latency counts from the instant that the order was due.
    """
    orders = list(mix.orders(secrets.token_hex(3), round(rate * seconds), seed))
    steps = asyncio.run(_load(state, orders, rate, wait_seconds=60 + 2 * seconds if wait is None else wait))
    if as_json:
        found = {name: figures(taken) | {"orders": len(taken)} for name, taken in steps.items()}
        show({"rate": rate, "seconds": seconds, "steps": found})
    else:
        Console().print(table(steps, "orders"))


async def _load(
    state: StateFolder, orders: Sequence[OrderPlaced], rate: float, *, wait_seconds: float
) -> dict[str, list[float]]:
    async with reach_running(state) as mesh, gauge(mesh.connection, "ORDERS", [f"{end}.*" for end in ENDINGS]) as ended:
        clicks = await drive(mesh, orders, rate)
        deadline = time.monotonic() + wait_seconds
        while time.monotonic() < deadline:
            if await ended.count() >= len(orders):
                break
            await asyncio.sleep(POLL_SECONDS)
        return latencies((await collect(mesh, state)).stories, clicks, STEPS)
