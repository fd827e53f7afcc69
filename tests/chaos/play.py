"""One run: customers order while the nemesis strikes; then everything heals, drains and is audited."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from jetmesh import provision
from jetmesh.failure import Unavailable
from jetmesh.mesh import Mesh
from jetmesh.provision import Drift
from jetmesh.testing import until
from services.reference.audit import Audit
from services.reference.checks import findings
from services.reference.facts import collect
from services.reference.state import State
from services.reference.streams import Progress, progress
from tests.chaos.arena import Arena, Tell, Wishes
from tests.chaos.figures import Figures
from tests.chaos.load import Customers, orders
from tests.chaos.nemesis import Nemesis

DRAIN_SECONDS, DRAIN_SECONDS_WITH_BUG = 150.0, 40.0
POLL_SECONDS = 0.5


@dataclass(slots=True)
class Result:
    """What came of it."""

    asked: Wishes
    struck: dict[str, int]
    figures: Figures
    audit: Audit
    waits: list[str] = field(default_factory=list)

    @property
    def never_struck(self) -> list[str]:
        """The kinds of fault that the run should have had and had not."""
        return [kind for kind, count in self.struck.items() if not count]

    @property
    def is_good(self) -> bool:
        """Whether the promises held, under everything that was to be held against them."""
        return self.audit.is_clean and not self.waits and not self.never_struck


async def play(asked: Wishes, state: State, tell: Tell) -> Result:
    """The whole run.

    Raises:
        StartFailed: something does not come up.
    """
    arena, figures = Arena(state, asked, tell), Figures()
    async with arena.open() as mesh:
        nemesis = Nemesis(arena, mesh, figures, asked.seed)
        kinds = list(asked.only or nemesis.faults)
        watching = asyncio.create_task(figures.watch(mesh))
        ordering = Customers(mesh, figures, asked.seed).order_all(orders(asked.seed, asked.orders), asked.seconds)
        tell(f"{asked.orders:,} orders in {asked.seconds:g} s, {len(kinds)} kinds of fault, seed {asked.seed}")
        try:
            await asyncio.gather(ordering, nemesis.rage(asked.seconds, kinds))
            began = time.monotonic()
            await arena.heal(mesh)
            tell("healed; draining")
            waits = await drain(arena, mesh, DRAIN_SECONDS_WITH_BUG if asked.bug else DRAIN_SECONDS)
            figures.drain_seconds = time.monotonic() - began
        finally:
            watching.cancel()
        done = await audited(mesh, state)
        await figures.count_redeliveries(mesh, arena.needed.consumers, done.facts)
    return Result(asked, {kind: nemesis.struck[kind] for kind in kinds}, figures, done, waits)


async def audited(mesh: Mesh, state: State) -> Audit:
    """The books."""
    facts = await collect(mesh, state)
    return Audit(facts, findings(facts, crashed=True))


async def drain(arena: Arena, mesh: Mesh, seconds: float) -> list[str]:
    """Wait until nobody has anything to do any more, now or later; what is left when the time is up."""
    before: list[Progress] = []

    async def drained() -> bool:
        with suppress(Unavailable, Drift):
            now = await progress(mesh.connection, arena.needed.consumers)
            still = before == [now]
            before[:] = [now]
            await asyncio.sleep(POLL_SECONDS)
            return now.waiting == 0 and still and not await _set_aside(arena, mesh)
        return False

    with suppress(AssertionError):
        await until(drained, seconds, "the mesh is drained")
        return []
    return [*await _waiting(arena, mesh), *await _set_aside(arena, mesh)]


async def _waiting(arena: Arena, mesh: Mesh) -> list[str]:
    found = []
    for consumer in arena.needed.consumers:
        now = await progress(mesh.connection, [consumer])
        found += [f"{consumer.stream}/{consumer.durable}: {now.waiting} waiting"] if now.waiting else []
    return found


async def _set_aside(arena: Arena, mesh: Mesh) -> list[str]:
    """The timer streams in which something still waits for its time."""
    names = [stream.name for stream in arena.needed.streams if stream.name.endswith("_TIMERS")]
    infos = {name: await provision.request(mesh.connection, f"STREAM.INFO.{name}") for name in names}
    return [f"{name}: {info['state']['messages']} set aside" for name, info in infos.items()
            if info["state"]["messages"]]  # fmt: skip
