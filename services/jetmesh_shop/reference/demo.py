"""`jetmesh demo`: the whole mesh on one machine, with one command: everything up, a first order and its story, many
orders, the summary."""

import asyncio
import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import click
import httpx

from jetmesh import settings
from jetmesh.commands import options
from jetmesh.commands.target import connected_with
from jetmesh.common.exit_status import INTERRUPTED
from jetmesh.common.terminal import show
from jetmesh.local import ports
from jetmesh.local.lifecycle import Lifecycle, run
from jetmesh.local.plan import Plan, their_broker
from jetmesh.local.state import StateFolder
from jetmesh.local.view import View
from jetmesh.operate.key_history import follow
from jetmesh.operate.load import publish_all
from jetmesh.operate.progress import Count, at_rest, endings
from jetmesh.runtime.context import Context
from jetmesh.settings import Settings
from jetmesh.topology.accounts import OPERATOR
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.service import orders as orders_service
from jetmesh_shop.reference import couriers, mix, placing, stock, summary
from jetmesh_shop.reference.audit import AUDIT, collect
from jetmesh_shop.reference.backing import BACKING, shop
from jetmesh_shop.reference.couriers import Couriers
from jetmesh_shop.reference.fault_control import Control
from jetmesh_shop.reference.faults import Faults
from jetmesh_shop.reference.state import Stores

FIRST_STORY_SECONDS = 30.0
NEEDED = topology(SERVICES, app=SERVICES.name)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the demo is asked to do once the mesh runs."""

    orders: int
    via: str
    seed: int
    leave: bool
    as_json: bool

    @property
    def deadline_seconds(self) -> float:
        """How long all orders may take to end."""
        return 120 + self.orders / 25


class Play:
    """What happens, in its order."""

    def __init__(self, asked: Wishes, view: View, plan: Plan, mesh: Lifecycle, control: Control) -> None:
        self.asked, self.view, self.plan, self.mesh, self.control = asked, view, plan, mesh, control
        self.http_url = plan.backing.urls["http_url"]

    async def perform(self) -> int:
        """Everything up, the first order, those asked for, and then either the summary or no end; the exit status."""
        await self.mesh.start_foundation()
        async with connected_with(self.plan.nats_args(OPERATOR)) as context:
            await self.mesh.start_services(context.connection)
            with self.view.step("stock") as words:
                new = await stock.seed(context)
                words.append(f"{new} articles delivered" if new else "as it was left")
            self.mesh.announce()
            async with couriers.on_duty(context, couriers.enough_for(self.asked.orders)) as on_duty:
                return await self._deliveries(context, on_duty)

    async def _deliveries(self, context: Context, on_duty: Couriers) -> int:
        first = await self._first_order(context)
        async with endings(context, [orders_service]) as count:
            placed = await self._orders(context) or [first]
            if self.asked.leave:
                await self._until_ended(context, count, on_duty)
                return await self._summary(context, placed)
        faults = Faults(context, self.mesh, Stores(self.plan.state.folder).bank, on_duty)
        async with self.control.over(faults):
            self._invite(first)
            await self.mesh.keep_contracts(context)
            await asyncio.Event().wait()
        return 0

    async def _first_order(self, context: Context) -> str:
        """Place an order over HTTP, and print its story as it happens."""
        order = mix.first(mix.fresh_id())
        self.view.console.print(f"\n{order.order_id}  placed over HTTP; its story as it happens:")
        async with placing.browser(self.http_url) as client:
            click_time = time.time()
            placing_it = asyncio.create_task(placing.post(client, order))
            async for event in follow(context, SERVICES, order.order_id, FIRST_STORY_SECONDS):
                self.view.event(event, click_time)
            await placing_it
        return order.order_id

    async def _orders(self, context: Context) -> list[str]:
        """Place the orders asked for; their ids."""
        orders = list(mix.orders(secrets.token_hex(3), self.asked.orders, self.asked.seed))
        if orders:
            began = time.monotonic()
            with self.view.bar("placed", len(orders)) as update:
                placed = partial(update, advance=1)
                if self.asked.via == "http":
                    await placing.over_http(self.http_url, orders, placed)
                else:
                    await publish_all(context, orders, placed)
            seconds = time.monotonic() - began
            self.view.show(f"{len(orders):,} orders placed over {self.asked.via.upper()} in {seconds:.1f} s")
        return [order.order_id for order in orders]

    async def _until_ended(self, context: Context, count: Count, on_duty: Couriers) -> None:
        """Wait until every order has ended, every courier is idle and no delivery is pending, or the time is up."""
        with self.view.bar("ended", self.asked.orders) as update:

            async def ended() -> bool:
                update(completed=(done := await count()))
                return done >= self.asked.orders and await on_duty.are_idle()

            if not await at_rest(context.connection, NEEDED.work, ended, self.asked.deadline_seconds):
                self.view.warn(f"not everything has ended within {self.asked.deadline_seconds:.0f} s")

    async def _summary(self, context: Context, placed: Sequence[str]) -> int:
        """Stop the services, so that their last spans are there; audit; say how it went."""
        with self.view.step("services") as words:
            await self.mesh.stop_services()
            words.append("stopped, each after what it had in flight")
        done = AUDIT.of(await collect(context, self.plan.state))
        found = summary.summarize(done, placed, self.plan.state.traces)
        self.view.show(done.as_tables(), summary.render(found))
        if self.asked.as_json:
            show(found)
        return 0 if summary.is_good(found) else 1

    def _invite(self, first: str) -> None:
        """Where everything is, and what to try."""
        folder, following = self.plan.state.folder, mix.small(mix.fresh_id())
        state = "" if str(folder) == ".jetmesh" else f" --state {shlex.quote(str(folder))}"
        subject = f"{self.plan.tenant}.{following.type}" if self.plan.tenant else following.type
        publish = ["nats", *self.plan.nats_args("client"), "pub", subject, following.model_dump_json()]
        self.view.entries("Look", {
            "shop": self.plan.backing.urls["shop_url"],
            "console": self.plan.backing.urls["console_url"],
            "API": f"{self.http_url}/docs",
            "broker": self.plan.monitor_url or self.plan.nats_url,
            "logs": f"{self.plan.state.logs}/",
        })  # fmt: skip
        self.view.entries("Try", {
            "story": f"jetmesh order {first}{state}",
            "figures": f"jetmesh report{state}",
            "books": f"jetmesh audit{state}",
        })  # fmt: skip
        self.view.entries("An order by hand, with the nats CLI, and its story", {})
        self.view.console.print(f"{shlex.join(publish)}\njetmesh order {following.order_id}{state}", soft_wrap=True)
        self.view.console.print(f"\nCtrl-C stops all of it; the data stay in {folder}.")


@click.command()
@options.state
@click.option("--orders", type=click.IntRange(0), default=0, metavar="N", help="Place N orders: most good, some not.")
@click.option("--via", type=click.Choice(["nats", "http"]), default="nats", show_default=True, help="How they go in.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same orders.")
@click.option("--exit", "leave", is_flag=True, help="Wait until all orders have ended, audit, say how it went, stop.")
@click.option("--json", "as_json", is_flag=True, help="With --exit: the summary as one JSON object.")
@ports.option
@ports.free_option
def demo(state: StateFolder, wanted: Mapping[str, int], *, free: bool, **wishes: object) -> None:
    """Run the whole mesh on this machine: broker, six services, couriers, a shop in the browser, mail, traces.

    Places a first order and prints its story as it happens, then goes on until Ctrl-C. The data stay in the state
    folder: a second start goes on with them. NATS_URL names a broker to use instead of an own one; traces also go to
    OTEL_EXPORTER_OTLP_ENDPOINT, or to a Jaeger on localhost:4317.
    """
    asked = Wishes(**wishes)  # type: ignore[arg-type]
    if settings.read(Settings).partitions:
        raise click.UsageError("the demo's broker routes nothing by key: unset JETMESH_PARTITIONS")
    if asked.as_json and not asked.leave:
        raise click.UsageError("--json goes with --exit: it prints the summary")
    view = View(SERVICES, stderr=asked.as_json)

    control = Control()

    def planned() -> Plan:
        found = shop(state, ports.chosen(BACKING.ports, wanted, free=free, own_broker=not their_broker()))
        return found if asked.leave else control.told_to_the_console(found)

    async def play(plan: Plan, mesh: Lifecycle) -> int:
        return await Play(asked, view, plan, mesh, control).perform()

    with state.held(state.folder / name for name in BACKING.files):
        try:
            status = asyncio.run(run(state, view, planned, play))
        except httpx.HTTPError as failed:
            raise click.ClickException(str(failed)) from failed
    if status is None:
        status = INTERRUPTED if asked.leave else 0
    raise SystemExit(status)
