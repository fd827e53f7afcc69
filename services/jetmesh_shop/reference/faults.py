"""What can be broken in a demo, and is mended again: each shows a promise of the mesh."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

from jetmesh.common.tasks import cancelled
from jetmesh.extend import ConsoleItem
from jetmesh.jetstream.message import Message
from jetmesh.local.lifecycle import Lifecycle
from jetmesh.operate.load import publish
from jetmesh.runtime.context import Context
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.payments.ledger import Ledger, begin_outage, end_outage
from jetmesh_shop.reference import mix
from jetmesh_shop.reference.couriers import Couriers
from jetmesh_shop.reference.many_orders import NAME as MANY_ORDERS
from jetmesh_shop.reference.many_orders import ManyOrders

MAIL = "mail"
SHOWN, SHOWN_AT_ONCE, SHOWN_PAUSE_SECONDS = 200, 10, 0.5
"""While something is broken so many orders come in, that it can be seen: some at once, then one after each pause."""


class Faults:
    """The faults of a demo, and which of them are in force."""

    def __init__(self, context: Context, mesh: Lifecycle, bank: Path, on_duty: Couriers) -> None:
        self._context, self._mesh, self._bank = context, mesh, bank
        self._orders = ManyOrders(context, on_duty)
        self._showing: asyncio.Task[None] | None = None
        self._held: set[str] = set()
        self._poisoned: list[str] = []
        self._acting = asyncio.Lock()

    async def items(self) -> list[ConsoleItem]:
        """Everything that can be done, and how it stands."""
        return [await self._orders.item(), self._poison_item(), self._bank_item(), *self._processes()]

    async def act(self, name: str, action: str) -> str:
        """Do it; what was done. One at a time: two operators may ask for the same.

        Raises:
            StartFailed: a process does not come back.
        """
        async with self._acting:
            said = await self._done(name, action)
        if self._is_broken and (self._showing is None or self._showing.done()):
            self._showing = asyncio.create_task(self._show(), name="orders that show a fault")
        return said

    async def _done(self, name: str, action: str) -> str:
        if name == MANY_ORDERS:
            return self._orders.begin() if action == "begin" else self._orders.stop()
        if name == "bank":
            (begin_outage if action == "close" else end_outage)(self._bank)
            return "The bank is closed." if action == "close" else "The bank is open again."
        if name == "poison":
            return await self._poison()
        return await self._process(name, action)

    async def _process(self, name: str, action: str) -> str:
        what = _called(name)
        if action == "start" and name in self._held:
            await self._mesh.release(name)
            self._held.discard(name)
            return f"{what} runs again."
        if action == "stop" and name not in self._held:
            self._held.add(name)
            await self._mesh.hold(name)
            return f"{what} is stopped."
        if action == "kill" and (pid := self._mesh.pid(name)):
            os.kill(pid, signal.SIGKILL)
            return f"{what} is killed; it is started again at once."
        return f"{what} is as you want it already."

    async def end(self) -> None:
        """Mend what the demo's files would keep broken."""
        await self._orders.end()
        if self._showing:
            await cancelled(self._showing)
        end_outage(self._bank)

    @property
    def _is_broken(self) -> bool:
        return bool(self._held) or Ledger(self._bank).outage_since() is not None

    async def _show(self) -> None:
        orders = mix.orders(secrets.token_hex(3), SHOWN, secrets.randbits(32))
        for number, order in enumerate(orders):
            if not self._is_broken:
                return
            await publish(self._context, order)
            await asyncio.sleep(0 if number < SHOWN_AT_ONCE else SHOWN_PAUSE_SECONDS)

    def _bank_item(self) -> ConsoleItem:
        since = Ledger(self._bank).outage_since()
        return ConsoleItem(
            name="bank",
            title="Bank",
            words="A closed bank costs no order: its payments wait, and go on when it opens.",
            state="open" if since is None else f"closed since {since:%H:%M:%S} UTC",
            is_good=since is None,
            actions={"close": "Close it"} if since is None else {"open": "Open it"},
        )

    def _processes(self) -> Iterator[ConsoleItem]:
        yield self._process_item(MAIL, "Mail server", "Mails wait, and each is sent once when it is back.")
        for service in SERVICES:
            yield self._process_item(service.name, f"Service {service.name}")

    def _process_item(self, name: str, title: str, words: str = "") -> ConsoleItem:
        pid = self._mesh.pid(name)
        is_held = name in self._held
        return ConsoleItem(
            name=name,
            title=title,
            words=words,
            state="stopped" if is_held else f"runs, process {pid}" if pid else "is being started again",
            is_good=bool(pid) and not is_held,
            actions={"start": "Start it"} if is_held else {"stop": "Stop it", "kill": "Kill it"},
        )

    def _poison_item(self) -> ConsoleItem:
        return ConsoleItem(
            name="poison",
            title="Poison",
            words="An order that breaks its contract becomes a dead letter. Edit the quantity there, and replay it.",
            state=f"the last one is order {self._poisoned[-1]}" if self._poisoned else "",
            actions={"publish": "Publish one"},
            links={"Dead letters": "/mesh/letters"},
        )

    async def _poison(self) -> str:
        order = mix.first(mix.fresh_id())
        body = order.model_dump(mode="json")
        body["lines"][0]["quantity"] = "two"
        await self._context.publisher.record(Message(OrderPlaced.type, json.dumps(body).encode(), {}))
        self._poisoned.append(order.order_id)
        return f"Order {order.order_id} asks for “two” pizzas: it is a dead letter by now."


def _called(process: str) -> str:
    """A process as the subject of a sentence."""
    return "The mail server" if process == MAIL else f"The service {process}"
