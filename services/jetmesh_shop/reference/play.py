"""What the demo plays once it is asked: everything up, a first order and its story, many orders, the summary."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from jetmesh.commands.target import connected_with
from jetmesh.common.terminal import show
from jetmesh.failure import Unavailable
from jetmesh.local.lifecycle import Lifecycle, provide
from jetmesh.operate.key_history import follow
from jetmesh.operate.load import publish_all
from jetmesh.operate.progress import Gauge, gauge, progress
from jetmesh.runtime.context import Context
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import mix, placing, stock, summary
from jetmesh_shop.reference.audit import audited
from jetmesh_shop.reference.facts import collect
from jetmesh_shop.reference.fleet import Fleet, sent_on_to
from jetmesh_shop.reference.summary import ENDS
from jetmesh_shop.reference.voice import Voice

FIRST_STORY_SECONDS = 30.0
POLL_SECONDS = 0.5
NEEDED = topology(SERVICES)


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

    def __init__(self, fleet: Fleet, asked: Wishes, voice: Voice) -> None:
        self.asked, self.voice, self._fleet = asked, voice, fleet
        self.mesh = Lifecycle(fleet.mesh.state, fleet.endpoints, voice.tell)

    async def perform(self) -> int:
        """Everything up, the first order, those asked for, and then either the summary or no end; the exit status."""
        await self._foundation()
        async with connected_with(self._fleet.mesh.nats_args("operator")) as mesh:
            await self._services(mesh)
            self.mesh.announce()
            first = await self._first_order(mesh)
            placed = [first]
            if self.asked.orders or self.asked.leave:
                async with gauge(mesh.connection, "ORDERS", [f"{end}.*" for end in ENDS]) as ended:
                    placed = await self._orders(mesh) or placed
                    if self.asked.leave:
                        await self._until_ended(mesh, ended, self.asked.orders)
            if self.asked.leave:
                return await self._summary(mesh, placed)
            self._invite(first)
            await asyncio.Event().wait()
            return 0

    async def _foundation(self) -> None:
        fleet = self._fleet
        with self.voice.step("broker") as said:
            await self.mesh.start_foundation(fleet.foundation())
            said.append(fleet.mesh.nats_url)
        onward = sent_on_to()
        with self.voice.step("traces") as said:
            said.append(f"{fleet.traces_url}{f', and on to {onward}' if onward else ''}")
        with self.voice.step("mail") as said:
            said.append(fleet.smtp_url)

    async def _services(self, context: Context) -> None:
        with self.voice.step("topology") as said:
            made = await provide(context.connection, NEEDED)
            said.append(f"{len(NEEDED.streams)} streams, {len(NEEDED.consumers)} durables; {made or 'none'} made now")
        with self.voice.step("services") as said:
            await self.mesh.start_services(self._fleet.services())
            said.append(", ".join(self._fleet.mesh.health_ports))
        with self.voice.step("stock") as said:
            new = await stock.seed(context)
            said.append(f"{new} articles delivered" if new else "as it was left")

    async def _first_order(self, context: Context) -> str:
        """Place an order over HTTP, and tell its story as it happens."""
        order = mix.first(mix.fresh_id())
        self.voice.opening(order.order_id)
        async with placing.browser(self._fleet.http_url) as client:
            click_time = time.time()
            placing_it = asyncio.create_task(placing.post(client, order))
            async for event in follow(context, SERVICES, order.order_id, FIRST_STORY_SECONDS):
                self.voice.event(event, click_time)
            await placing_it
        return order.order_id

    async def _orders(self, context: Context) -> list[str]:
        """Place the orders asked for; their ids."""
        orders = list(mix.orders(secrets.token_hex(3), self.asked.orders, self.asked.seed))
        if orders:
            began = time.monotonic()
            self.voice.console.print()
            with self.voice.bar("placed", len(orders)) as bar:
                if self.asked.via == "http":
                    await placing.over_http(self._fleet.http_url, orders, bar.advance)
                else:
                    await publish_all(context, orders, bar.advance)
            seconds = time.monotonic() - began
            self.voice.console.print(f"{len(orders):,} orders placed over {self.asked.via.upper()} in {seconds:.1f} s")
        return [order.order_id for order in orders]

    async def _until_ended(self, context: Context, ended: Gauge, orders: int) -> None:
        """Until every order has ended and nobody has anything to do any more, or the time is up."""
        deadline, before = time.monotonic() + self.asked.deadline_seconds, None
        with self.voice.bar("ended", orders) as bar:
            while time.monotonic() < deadline:
                with suppress(Unavailable):
                    bar.reach(count := await ended.count())
                    now = await progress(context.connection, NEEDED.work) if count >= orders else None
                    if now is not None and now.waiting == 0 and now == before:
                        return
                    before = now
                await asyncio.sleep(POLL_SECONDS)
        self.voice.tell(f"not everything has ended within {self.asked.deadline_seconds:.0f} s")

    async def _summary(self, context: Context, placed: Sequence[str]) -> int:
        """Stop the services, so that their last spans are there; audit; say how it went."""
        with self.voice.step("services") as said:
            await self.mesh.stop_services()
            said.append("stopped, each after what it had in flight")
        facts = await collect(context, self._fleet.mesh.state)
        done = audited(facts)
        found = summary.summarize(done, placed, self._fleet.stores.traces)
        self.voice.show(done.shown())
        self.voice.show(summary.render(found))
        if self.asked.as_json:
            show(summary.document(found))
        return 0 if found.is_good else 1

    def _invite(self, first: str) -> None:
        nats_args = self._fleet.mesh.nats_args("client")
        self.voice.invitation(self._fleet, first, mix.small(mix.fresh_id()), nats_args)
