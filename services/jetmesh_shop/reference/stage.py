"""The demo's processes together: up from the broker to the services, and down again the other way round."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from jetmesh.runtime.context import Context
from jetmesh.topology import provision
from jetmesh.topology.provision import Change
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import fleet
from jetmesh_shop.reference.fleet import Plan
from jetmesh_shop.reference.machine import Machine, Spec, end_leftovers
from jetmesh_shop.reference.state import State

Tell = Callable[[str], None]

NEEDED = topology(SERVICES)
WORK = NEEDED.work
"""The durables that are through once all orders have ended; a deadline holds its event until the time is up."""


class Stage:
    """What runs. Where a process was started again, `endpoints.json` follows."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self.plan = plan
        self._tell = tell
        self._foundation: list[Machine] = []
        self._services: list[Machine] = []
        self._announced = False

    async def start_foundation(self) -> None:
        """The broker, then what else the services stand on.

        Raises:
            StartFailed: with the end of the log of what did not come up.
        """
        self._foundation = self._machines(fleet.foundation(self.plan))
        await _all(self._foundation, Machine.start)

    async def start_services(self) -> None:
        """All services at once: none waits for another.

        Raises:
            StartFailed: with the end of the log of what did not come up.
        """
        self._services = self._machines(fleet.services(self.plan))
        await _all(self._services, Machine.start)

    def announce(self) -> None:
        """Write where everything is reached."""
        self._announced = True
        pids = {machine.name: machine.pid for machine in [*self._foundation, *self._services]}
        self.plan.endpoints(pids).write(self.plan.state.endpoints)

    async def stop_services(self) -> None:
        """Each finishes what it has in hands and sends its last spans."""
        services, self._services = self._services, []
        await _all(services, Machine.stop)

    async def stop(self) -> None:
        """Everything, the services first and the broker last."""
        self._announced = False
        self.plan.state.endpoints.unlink(missing_ok=True)
        await self.stop_services()
        for machine in reversed(self._foundation):
            await machine.stop()

    def _machines(self, specs: Sequence[Spec]) -> list[Machine]:
        return [Machine(spec, self.plan.state, self._on_change) for spec in specs]

    def _on_change(self, words: str) -> None:
        self._tell(words)
        if self._announced:
            self.announce()


async def clear(state: State, tell: Tell) -> None:
    """Stop what an earlier demo left running, and forget where it was.

    Raises:
        StartFailed: something can't be stopped.
    """
    state.endpoints.unlink(missing_ok=True)
    await end_leftovers(state, tell)


async def _all(machines: Sequence[Machine], step: Callable[[Machine], Coroutine[Any, Any, None]]) -> None:
    """The step of every machine at once; the first failure, once none is in between."""
    results = await asyncio.gather(*(step(machine) for machine in machines), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def provide(context: Context) -> int:
    """Make the streams and durables that are missing or differ; how many.

    Raises:
        Drift: the broker has something that can't be changed without losing data.
    """
    steps = await provision.plan(context.connection, NEEDED)
    await provision.apply(context.connection, steps)
    return sum(step.change is not Change.KEEP for step in steps)
