"""The order mesh as a simulated world: its services, its customers, and one seed's story until all is at rest."""

import asyncio
import json
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from jetmesh import Service, Unavailable
from jetmesh.jetstream import group_commit
from jetmesh.jetstream.message import Message
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import FAULTS, Fault, World, storm
from jetmesh_contracts import Customer, Line, OrderPlaced
from jetmesh_shop.analytics.service import Analytics
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.notifications.service import Notifications
from jetmesh_shop.orders.adapters import MeshOrders
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders
from jetmesh_shop.payments.service import Payments
from tests.simulation.audit import Books, audit, safety
from tests.simulation.outside import SimulatedBank, SimulatedMailer, SimulatedWarehouse, Trouble

ACK_WAIT_SECONDS = 6.0
DEADLINE_SECONDS = 30.0
REST_SECONDS_MAX = 1_800.0
ARTICLES = ("lasagne", "tiramisu")
CARDS = (
    *["pm_card_visa"] * 6, "pm_card_visa_chargeDeclined",
    "pm_sandbox_captureFails", "pm_sandbox_holdExpires", "pm_sandbox_flaky",
)  # fmt: skip


class OrderMesh:
    """The services on a simulated broker, a bank, a mail server, a warehouse, and what customers were told."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(f"customers {seed}")
        self.bank, self.mailer, self.warehouse = SimulatedBank(seed), SimulatedMailer(seed), SimulatedWarehouse(seed)
        slots = self.random.choice((1, 4, 64, 256))
        told = {
            "JETMESH_ACK_WAIT_SECONDS": str(ACK_WAIT_SECONDS),
            "JETMESH_AFTER_ORDERS_TIME_OUT_SECONDS": str(DEADLINE_SECONDS),
            "JETMESH_DRAIN_SECONDS": "5",
            "JETMESH_SLOTS": str(slots),
        }
        settings = read(Settings, told)
        self.world = World(seed, SERVICES, self._dependencies, settings)
        self.faults = {**FAULTS, **{f"{name} in trouble": self._trouble(t) for name, t in self._troubles().items()}}
        self.acked: set[str] = set()
        self._visits: list[asyncio.Task[None]] = []

    @property
    def books(self) -> Books:
        """What an auditor looks at."""
        return Books(self.world.broker, self.bank, self.mailer, self.warehouse, frozenset(self.acked))

    def begin(self) -> None:
        """Start every service, some of them twice, and the customers' own process."""
        self.world.begin(lambda _: self.random.choice((1, 1, 2)))
        self.customers = self.world.outsider("customers")

    def visit(self, customer: Coroutine[Any, Any, None]) -> None:
        """Let a customer do something, beside everything else."""
        self._visits.append(self.customers.run(customer))

    async def say(self, subject: str, body: bytes) -> bool:
        """Publish from outside, as a person with the `nats` CLI would, until it is acknowledged."""
        await self.customers.ready.wait()
        for _ in range(20):
            try:
                await self.customers.context.publisher.record(Message(subject, body, {}))
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return True
        return False

    async def order(self, order: OrderPlaced, *, by_edge: bool) -> None:
        """Place an order, by the edge or by hand, and know whether it was taken."""
        if not by_edge:
            if await self.say("orders.placed", order.model_dump_json().encode()):
                self.acked.add(order.order_id)
            return
        await self.customers.ready.wait()
        edge = MeshOrders(self.customers.context, PRICES)
        for _ in range(20):
            try:
                placement = await edge.place(order)
            except Exception:  # the edge's own Unavailable: a 503, and the browser asks again
                await asyncio.sleep(self.random.uniform(0, 2))
                continue
            if placement.recorded == order:
                self.acked.add(order.order_id)
            return

    async def restock(self, number: int, sku: str, pieces: int) -> None:
        """Goods arrive."""
        body = {"restock_id": f"r-{number}", "sku": sku, "quantity": pieces}
        await self.say("stock.restocked", json.dumps(body).encode())

    async def withdraw(self, order_id: str) -> None:
        """The customer does not want the order any more."""
        await self.say("orders.cancellation_requested", json.dumps({"order_id": order_id}).encode())

    async def wait(self, seconds: float, *, begin: bool = False) -> None:
        """Let the world go on for a while, from its beginning or from where it stopped."""
        if begin:
            self.begin()
        await asyncio.sleep(seconds)

    async def settle(self) -> None:
        """Faults stop, everything comes to rest, and the books are audited."""
        self.world.heal()
        self.calm()
        await self.world.rest(REST_SECONDS_MAX, self._under_way)
        wrong = [*audit(self.books), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    def calm(self) -> None:
        """The outside works as it should."""
        for trouble in self._troubles().values():
            trouble.before = trouble.after = 0.0
            trouble.closed = False

    def check(self) -> None:
        """What must hold in the middle of everything."""
        wrong = [*safety(self.books)]
        assert not wrong, "; ".join(wrong)

    def _under_way(self) -> list[str]:
        """What goes on outside the broker."""
        visits = sum(not visit.done() for visit in self._visits)
        return ["a call to the bank"] * self.bank.under_way + ["a customer"] * visits

    def _dependencies(self, service: Service) -> Any:
        made = {"orders": Orders(PRICES), "payments": Payments(self.bank), "notifications": Notifications(self.mailer),
                "analytics": Analytics(self.warehouse)}  # fmt: skip
        return made.get(service.name)

    def _troubles(self) -> dict[str, Trouble]:
        return {"bank": self.bank.trouble, "mail": self.mailer.trouble, "warehouse": self.warehouse.trouble}

    def _trouble(self, trouble: Trouble) -> Fault:
        def strike(world: World) -> None:
            if world.random.random() < 0.2:
                trouble.closed = True
                world.until_repaired(world.random.uniform(1, 20), lambda: setattr(trouble, "closed", False))
            else:
                trouble.before, trouble.after = world.random.choice(((0.2, 0.2), (0.0, 0.4), (0.4, 0.0)))

        return strike


def order_of(order_id: str, dice: random.Random) -> OrderPlaced:
    """An order, now and then one that can't be taken."""
    skus = dice.sample(ARTICLES, dice.choice((1, 1, 2)))
    price_error = 1 if dice.random() < 0.05 else 0
    return OrderPlaced(
        order_id=order_id,
        customer=Customer(customer_id="c-1", email="ada@example.org"),
        lines=tuple(
            Line(sku=sku, quantity=dice.randint(1, 3), unit_price_minor=PRICES[sku] + price_error) for sku in skus
        ),
        currency="EUR",
        payment_method=dice.choice(CARDS),
    )


async def customer(mesh: OrderMesh, number: int) -> None:
    """One customer: orders, perhaps again, perhaps with other contents, perhaps changes their mind."""
    dice = mesh.random
    await asyncio.sleep(dice.uniform(0, 20))
    order = order_of(f"o-{number}", dice)
    await mesh.order(order, by_edge=dice.random() < 0.4)
    if dice.random() < 0.3:
        await asyncio.sleep(dice.choice((0, 0.01, 1, 50)))
        await mesh.order(order, by_edge=dice.random() < 0.3)
    if dice.random() < 0.1:
        await mesh.say("orders.placed", replace_lines(order).model_dump_json().encode())
    for _ in range(dice.choice((0, 0, 1, 2))):
        await asyncio.sleep(dice.choice((0, 0.005, 0.05, 0.5, 10)))
        await mesh.withdraw(order.order_id)


def replace_lines(order: OrderPlaced) -> OrderPlaced:
    """The same order with other contents."""
    return order.model_copy(update={"lines": (*order.lines[:1], Line(sku="cola", quantity=1, unit_price_minor=290))})


async def goods(mesh: OrderMesh) -> None:
    """A little of everything arrives, some of it announced twice."""
    for number, sku in enumerate(ARTICLES * 2):
        await asyncio.sleep(mesh.random.uniform(0, 5))
        pieces = mesh.random.randint(1, 6)
        for _ in range(mesh.random.choice((1, 1, 2))):
            await mesh.restock(number, sku, pieces)


async def anonymous(mesh: OrderMesh) -> None:
    """An order without an id: its key is made from where it stands, the same at every delivery."""
    await asyncio.sleep(mesh.random.uniform(0, 10))
    if mesh.random.random() < 0.4:
        body = order_of("nobody", mesh.random).model_dump_json(exclude={"order_id"})
        await mesh.say("orders.placed", body.encode())


async def nonsense(mesh: OrderMesh) -> None:
    """What nobody can understand ends among the dead letters, and holds up nothing."""
    for body in (b"no JSON", b"{}", b'{"order_id": "o-x", "lines": []}')[: mesh.random.choice((0, 0, 1, 3))]:
        await mesh.say("orders.placed", body)


async def story(mesh: OrderMesh) -> None:
    """One seed: customers come while faults strike; then the books are audited."""
    mesh.begin()
    customers = [customer(mesh, number) for number in range(mesh.random.choice((1, 2, 4, 8)))]
    beside = asyncio.gather(goods(mesh), nonsense(mesh), anonymous(mesh), *customers)
    await storm(mesh.world, 30.0, mesh.faults)
    mesh.world.heal()
    mesh.calm()
    await beside
    await mesh.settle()


@contextmanager
def batches_of(least: int) -> Iterator[None]:
    """Group commit from so many waiting messages on: a simulated burst is small. With the usual number each message
    goes alone, as in a burst where the broker stores quickly."""
    before = group_commit.ALONE_MAX, group_commit.BATCH_MIN
    group_commit.ALONE_MAX, group_commit.BATCH_MIN = (1, least) if least < before[1] else before
    try:
        yield
    finally:
        group_commit.ALONE_MAX, group_commit.BATCH_MIN = before


def play(seed: int, watch: Any = None) -> OrderMesh:
    """Play a seed to its end; the mesh as it was left.

    Raises:
        AssertionError: the audit finds offences, or the mesh does not come to rest.
    """
    mesh = OrderMesh(seed)
    mesh.world.broker.watch = watch
    try:
        with batches_of(2 if seed % 2 else group_commit.BATCH_MIN):
            mesh.world.run(story(mesh))
    finally:
        mesh.world.close()
    return mesh
