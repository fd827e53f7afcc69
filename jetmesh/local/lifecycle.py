"""The processes of a mesh together: up from the broker to the services, and down again the other way round."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from jetmesh.jetstream.transport import Transport
from jetmesh.local.endpoints import Endpoints
from jetmesh.local.state import State
from jetmesh.local.supervisor import Spec, Supervisor, end_leftovers
from jetmesh.topology import provision
from jetmesh.topology.provision import Change
from jetmesh.topology.streams import Topology

Tell = Callable[[str], None]


class Lifecycle:
    """What runs on a state folder. Where a process was started again, `endpoints.json` follows."""

    def __init__(self, state: State, endpoints: Callable[[Mapping[str, int]], Endpoints], tell: Tell) -> None:
        self._state, self._endpoints, self._tell = state, endpoints, tell
        self._foundation: list[Supervisor] = []
        self._services: list[Supervisor] = []
        self._announced = False

    async def start_foundation(self, specs: Sequence[Spec]) -> None:
        """What the services stand on, the broker first.

        Raises:
            StartFailed: with the end of the log of what did not come up.
        """
        self._foundation = self._supervisors(specs)
        await _all(self._foundation, Supervisor.start)

    async def start_services(self, specs: Sequence[Spec]) -> None:
        """All services at once: none waits for another.

        Raises:
            StartFailed: with the end of the log of what did not come up.
        """
        self._services = self._supervisors(specs)
        await _all(self._services, Supervisor.start)

    def announce(self) -> None:
        """Write where everything is reached."""
        self._announced = True
        pids = {each.name: each.pid for each in [*self._foundation, *self._services]}
        self._endpoints(pids).write(self._state.endpoints)

    async def stop_services(self) -> None:
        """Each finishes its deliveries in flight and sends its last spans."""
        services, self._services = self._services, []
        await _all(services, Supervisor.stop)

    async def stop(self) -> None:
        """Everything, the services first and the broker last."""
        self._announced = False
        self._state.endpoints.unlink(missing_ok=True)
        await self.stop_services()
        for each in reversed(self._foundation):
            await each.stop()

    def _supervisors(self, specs: Sequence[Spec]) -> list[Supervisor]:
        return [Supervisor(spec, self._state, self._on_change) for spec in specs]

    def _on_change(self, words: str) -> None:
        self._tell(words)
        if self._announced:
            self.announce()


async def clear(state: State, tell: Tell) -> None:
    """Stop what an earlier start left running, and forget where it was.

    Raises:
        StartFailed: something can't be stopped.
    """
    state.endpoints.unlink(missing_ok=True)
    await end_leftovers(state, tell)


async def provide(connection: Transport, needed: Topology) -> int:
    """Make the streams and durables that are missing or differ; how many.

    Raises:
        Drift: the broker has something that can't be changed without losing data.
    """
    steps = await provision.plan(connection, needed)
    await provision.apply(connection, steps)
    return sum(step.change is not Change.KEEP for step in steps)


async def _all(supervisors: Sequence[Supervisor], step: Callable[[Supervisor], Coroutine[Any, Any, None]]) -> None:
    """The step of every process at once; the first failure, once none is in between."""
    results = await asyncio.gather(*(step(each) for each in supervisors), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
