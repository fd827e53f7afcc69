"""The smoke test of an installed mesh: one order, published as a client does, is followed until its receipt is sent."""

import asyncio

import click

from jetmesh.commands.target import connected_with
from jetmesh.common.terminal import say
from jetmesh.failure import Unavailable
from jetmesh.operate.key_history import follow
from jetmesh.operate.load import publish_all
from jetmesh.runtime.context import Context
from jetmesh_contracts import ReceiptSent
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import mix, stock

END = ReceiptSent.type


@click.command()
@click.option("--within-seconds", type=float, default=60.0, show_default=True, help="How long its way may take.")
def smoke_test(within_seconds: float) -> None:
    """Place an order that can be had and paid, print its story as it happens; exit 1 if no receipt is sent."""
    try:
        types = asyncio.run(_place(within_seconds))
    except (Unavailable, TimeoutError) as failed:
        raise click.ClickException(str(failed)) from failed
    if END not in types:
        raise click.ClickException(f"no {END} within {within_seconds:g} s: is every service ready?")


async def _place(within_seconds: float) -> list[str]:
    async with connected_with() as mesh:
        await stock.seed(mesh)
        return await _follow(mesh, mix.fresh_id(), within_seconds)


async def _follow(context: Context, order_id: str, within_seconds: float) -> list[str]:
    """Publish the order; the types of what happened to it."""
    types = []
    await publish_all(context, [mix.first(order_id)], lambda: say(f"{order_id} is published"))
    async for event in follow(context, SERVICES, order_id, within_seconds):
        say(f"{event.time:%H:%M:%S.%f} {event.type}")
        types.append(event.type)
        if event.type == END:
            break  # whether a courier comes is another question
    return types


if __name__ == "__main__":
    smoke_test()
