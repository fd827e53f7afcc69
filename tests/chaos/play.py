"""One run: customers order while the nemesis strikes; then everything heals, drains and is audited."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from jetmesh.common.terminal import Say
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api, stream_reader
from jetmesh.jetstream.errors import ApiError
from jetmesh.local.state import StateFolder
from jetmesh.operate.audit import Audit
from jetmesh.operate.progress import Progress, progress
from jetmesh.runtime.context import Context
from jetmesh.runtime.failure_policy import Exhausted
from jetmesh.testing import until
from jetmesh.topology.names import DEAD_LETTERS, endpoint_subject, is_note
from jetmesh.topology.provision import Drift
from jetmesh_shop.orders.service import orders as orders_service
from jetmesh_shop.reference.audit import AFTER_CRASHES, collect
from jetmesh_shop.reference.books import ShopBooks
from jetmesh_shop.reference.couriers import on_duty
from tests.chaos import brokers, wrapped
from tests.chaos.arena import Arena, Wishes
from tests.chaos.figures import Figures
from tests.chaos.load import Customers, come_and_go, orders
from tests.chaos.nemesis import Nemesis
from tests.chaos.network import Network

COURIERS = 12
DRAIN_SECONDS, DRAIN_SECONDS_WITH_BUG = 150.0, 40.0
POLL_SECONDS = 0.5
ASK_SECONDS = 10.0


class UnknownFault(ValueError):
    """There is no such kind of fault, or not on this machine."""


@dataclass(slots=True)
class Result:
    """What came of it."""

    asked: Wishes
    struck: dict[str, int]
    impossible: Mapping[str, str]
    figures: Figures
    audit: Audit[ShopBooks]
    waits: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    """Orders that a deadline cancelled before it was over."""
    bystanders: list[str] = field(default_factory=list)
    """Dead letters of what used up its attempts although it kills nobody."""
    differences: list[str] = field(default_factory=list)
    """What the warehouse counts, and the streams do not, or otherwise."""
    of_the_other_app: list[str] = field(default_factory=list)
    """What is lost, twice or given up there."""

    @property
    def never_struck(self) -> list[str]:
        """The kinds of fault that the run should have had and had not."""
        return [kind for kind, count in self.struck.items() if not count]

    @property
    def is_good(self) -> bool:
        """Whether the promises held, under everything that was to be held against them."""
        wrong = (
            self.waits
            or self.early
            or self.bystanders
            or self.never_struck
            or self.differences
            or self.of_the_other_app
            or self.figures.offences
        )
        return self.audit.is_clean and not wrong


async def play(asked: Wishes, state: StateFolder, tell: Say) -> Result:
    """The whole run.

    Raises:
        StartFailed: something does not come up.
        UnknownFault: `only` names what this run can't strike with.
    """
    figures = Figures()
    async with Network(brokers.names(asked.nodes)) as network:
        arena = Arena(state, asked, tell, network)
        async with arena.open() as mesh:
            nemesis = Nemesis(arena, mesh, figures, asked.seed)
            kinds = chosen(nemesis, asked.only)
            tell(f"{asked.orders:,} orders in {asked.seconds:g} s, {len(kinds)} kinds of fault, seed {asked.seed}")
            waits = await storm(nemesis, kinds, asked, tell)
            done = await audited(mesh, state)
            await figures.count_redeliveries(mesh, arena.needed.consumers, done.books)
            bystanders = await given_up_for_nothing(mesh)
            differences = await warehouse_differs(mesh, done)
            early = await cancelled_early(mesh, asked.deadline)
            other = await arena.neighbour.wrong(mesh) if arena.neighbour else []
        impossible = {kind: why for kind, why in nemesis.impossible.items() if not asked.only}
    struck = {kind: nemesis.struck[kind] for kind in kinds}
    return Result(asked, struck, impossible, figures, done, waits, early, bystanders, differences, other)


def chosen(nemesis: Nemesis, only: Sequence[str]) -> list[str]:
    """The kinds of fault to strike with.

    Raises:
        UnknownFault: there is no such kind here.
    """
    for kind in only:
        if kind in nemesis.impossible:
            raise UnknownFault(f"--only {kind!r} is not possible here: {nemesis.impossible[kind]}")
        if kind not in nemesis.faults:
            raise UnknownFault(f"--only {kind!r} is no kind of fault here; there are {', '.join(nemesis.faults)}")
    return list(only or nemesis.faults)


async def storm(nemesis: Nemesis, kinds: Sequence[str], asked: Wishes, tell: Say) -> list[str]:
    """Customers order while faults strike; then all is healed and drains. What still waits when the time is up."""
    arena, mesh, figures = nemesis.arena, nemesis.context, nemesis.figures
    watching = asyncio.create_task(figures.watch(mesh))
    ordering = Customers(mesh, figures, asked.seed).order_all(orders(asked.seed, asked.orders), asked.seconds)
    talking = [arena.neighbour.talk(mesh, asked.seed, asked.orders, asked.seconds)] if arena.neighbour else []
    try:
        async with on_duty(mesh, COURIERS) as couriers:
            riding = come_and_go(couriers, asked.seed, asked.seconds)
            await asyncio.gather(ordering, *talking, riding, nemesis.rage(asked.seconds, kinds))
            began = time.monotonic()
            await arena.heal(mesh)
            tell("healed; draining")
            waits = await drain(arena, mesh, DRAIN_SECONDS_WITH_BUG if asked.bug else DRAIN_SECONDS)
            figures.drain_seconds = time.monotonic() - began
    finally:
        watching.cancel()
    return waits


async def audited(context: Context, state: StateFolder) -> Audit[ShopBooks]:
    """The books."""
    return AFTER_CRASHES.of(await collect(context, state))


async def given_up_for_nothing(context: Context) -> list[str]:
    """The dead letters that say that the attempts are used up, but for those of deadly orders."""
    letters = await stream_reader.read(context.connection, DEAD_LETTERS)
    exhausted = [letter for letter in letters if letter.headers.get("Jetmesh-Error-Type") == Exhausted.__name__]
    return [letter.subject for letter in exhausted if wrapped.DEADLY.encode() not in letter.data]


async def warehouse_differs(context: Context, done: Audit[ShopBooks]) -> list[str]:
    """How often each event is counted, and how often it is there."""
    said = json.loads(await context.connection.ask(endpoint_subject("analytics", "report"), b"", ASK_SECONDS))
    counted = Counter({row["type"]: row["stored"] for row in said["events"]})
    there = Counter(event.type for event in done.books.events)
    return [f"{name}: {counted[name]} counted, {there[name]} there" for name in counted | there
            if counted[name] != there[name]]  # fmt: skip


async def cancelled_early(context: Context, deadline: float) -> list[str]:
    """The orders that were cancelled because their time was up, and it was not, by the broker's clock."""
    events = await stream_reader.read(context.connection, orders_service.stream)
    at = {(event.type, event.key): datetime.fromisoformat(event.time).timestamp() for event in events}
    late = [e.key for e in events if e.type == "orders.cancelled" and b'"timed_out"' in e.data]
    return [key for key in late if at["orders.cancelled", key] - at.get(("orders.placed", key), 0.0) < deadline - 1.0]


async def drain(arena: Arena, context: Context, seconds: float) -> list[str]:
    """Wait until nobody has anything to do any more, now or later; what is left when the time is up."""
    before: list[Progress] = []
    consumers = [consumer for needed in arena.everything for consumer in needed.consumers]

    async def drained() -> bool:
        with suppress(Unavailable, ApiError, Drift):
            now = await progress(context.connection, consumers)
            still = before == [now]
            before[:] = [now]
            await asyncio.sleep(POLL_SECONDS)
            return now.waiting == 0 and still and not await _set_aside(arena, context)
        return False

    with suppress(AssertionError):
        await until(drained, seconds, "the mesh is drained")
        return []
    return [*await _waiting(arena, context), *await _set_aside(arena, context)]


async def _waiting(arena: Arena, context: Context) -> list[str]:
    found = []
    for consumer in (consumer for needed in arena.everything for consumer in needed.consumers):
        now = await progress(context.connection, [consumer])
        found += [f"{consumer.stream}/{consumer.durable}: {now.waiting} waiting"] if now.waiting else []
    return found


async def _set_aside(arena: Arena, context: Context) -> list[str]:
    """The timer streams in which something still waits for its time; notes of last chances wait for nothing."""
    found = []
    names = [stream.name for needed in arena.everything for stream in needed.streams]
    for stream in (name for name in names if name.endswith("_TIMERS")):
        info = await api.request(context.connection, f"STREAM.INFO.{stream}", {"subjects_filter": ">"}, strict=True)
        waiting = [name for name in info["state"].get("subjects") or () if not is_note(name)]
        found += [f"{stream}: {len(waiting)} delayed, as {waiting[0]}"] if waiting else []
    return found
