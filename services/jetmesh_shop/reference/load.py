"""`jetmesh load`: orders at a steady rate, whatever the mesh does, and how long each step of the flow took.

Open loop: every order has its instant in the plan, and its latency counts from there. An order that goes in late
because the mesh was slow is slow; a driver that waits for the mesh would leave it out (coordinated omission).
"""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence

import click
from rich.table import Table

from jetmesh.commands import options
from jetmesh.commands.options import Figure
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import show
from jetmesh.local.state import State
from jetmesh.operate.books import Fact
from jetmesh.operate.progress import gauge
from jetmesh.runtime.context import Context
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.reference import mix
from jetmesh_shop.reference.checks import AUTHORIZED, CANCELLED, CAPTURED, CONFIRMED, LETTERS, RESERVED
from jetmesh_shop.reference.facts import PLACED, collect
from jetmesh_shop.reference.placing import publish
from jetmesh_shop.reference.sheets import sheet
from jetmesh_shop.reference.summary import ENDS, percentile

POLL_SECONDS = 0.5
RATE_MAX, SECONDS_MAX = 100_000, 86_400
PERCENTS = (50, 90, 95, 99, 100)
STEPS: Sequence[tuple[str, str, str]] = (
    ("intake", "", PLACED),
    ("hold the money", PLACED, AUTHORIZED),
    ("reserve the goods", PLACED, RESERVED),
    ("promise", PLACED, CONFIRMED),
    ("give up", PLACED, CANCELLED),
    ("take the money", CONFIRMED, CAPTURED),
    ("confirm by mail", CONFIRMED, LETTERS[0]),
    ("send the receipt", CAPTURED, LETTERS[2]),
    ("click to promise", "", CONFIRMED),
)
"""What is measured: a name, the event where it begins (none: the click), and the event where it ends."""

Clicks = Mapping[str, float]
"""When each order was to be placed, Unix time in seconds."""


@click.command()
@options.state
@click.option("--rate", type=Figure(0.1, RATE_MAX), default=100.0, show_default=True, help="Orders a second.")
@click.option("--seconds", type=Figure(0.1, SECONDS_MAX), default=60.0, show_default=True, help="For how long.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same orders.")
@click.option(
    "--wait", type=Figure(0, SECONDS_MAX), help="Seconds for the last orders to end (60, and twice --seconds)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, latencies in milliseconds.")
def load(state: State, rate: float, seconds: float, seed: int, wait: float | None, *, as_json: bool) -> None:
    """Place orders at a steady rate on a mesh that runs, and print how long each step took.

    Open loop: the rate holds whatever the mesh does, and each latency counts from the instant that the order was due.
    """
    orders = list(mix.orders(secrets.token_hex(3), round(rate * seconds), seed))
    steps = asyncio.run(_load(state, orders, rate, wait_seconds=60 + 2 * seconds if wait is None else wait))
    if as_json:
        found = {name: {f"p{percent}_ms": percentile(ms, percent) for percent in PERCENTS} | {"orders": len(ms)}
                 for name, ms in steps.items()}  # fmt: skip
        show({"rate": rate, "seconds": seconds, "steps": found})
    else:
        Console().print(table(steps))


async def _load(
    state: State, orders: Sequence[OrderPlaced], rate: float, *, wait_seconds: float
) -> dict[str, list[float]]:
    async with reach_running(state) as mesh, gauge(mesh.connection, "ORDERS", [f"{end}.*" for end in ENDS]) as ended:
        clicks = await drive(mesh, orders, rate)
        deadline = time.monotonic() + wait_seconds
        while time.monotonic() < deadline:
            if await ended.count() >= len(orders):
                break
            await asyncio.sleep(POLL_SECONDS)
        return latencies((await collect(mesh, state)).stories, clicks)


async def drive(context: Context, orders: Sequence[OrderPlaced], rate: float) -> Clicks:
    """Publish each order at its instant, without waiting for those before it; returns once the broker has all."""
    began = time.time()
    clicks = {order.order_id: began + number / rate for number, order in enumerate(orders)}
    async with asyncio.TaskGroup() as group:
        for order in orders:
            await asyncio.sleep(max(0.0, clicks[order.order_id] - time.time()))
            group.create_task(publish(context, order))
    return clicks


def latencies(stories: Mapping[str, Mapping[str, Fact]], clicks: Clicks) -> dict[str, list[float]]:
    """The milliseconds of each step, in ascending order, of the orders that took it."""
    found = {}
    for name, start, end in STEPS:
        taken = []
        for order_id, clicked in clicks.items():
            story = stories.get(order_id, {})
            if end in story and (not start or start in story):
                since = story[start].unix_nano / 1e9 if start else clicked
                taken.append((story[end].unix_nano / 1e9 - since) * 1_000)
        found[name] = sorted(taken)
    return found


def table(steps: Mapping[str, Sequence[float]]) -> Table:
    """One row a step, latencies in milliseconds."""
    figures = sheet("step, in ms", "orders", *(f"p{percent}" if percent < 100 else "max" for percent in PERCENTS))
    for name, taken in steps.items():
        figures.add_row(name, f"{len(taken):,}", *(f"{percentile(taken, percent):,.1f}" for percent in PERCENTS))
    return figures
