"""Starts the processes of a mesh, the broker first, and stops them in the reverse order."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from jetmesh.common.terminal import Say
from jetmesh.jetstream.transport import Transport
from jetmesh.local.endpoints import Endpoints
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec, Supervisor, end_leftovers
from jetmesh.topology import provision
from jetmesh.topology.provision import Change
from jetmesh.topology.starting import Starts
from jetmesh.topology.streams import Topology


class Lifecycle:
    """The processes on a state folder. When one is started again, `endpoints.json` is written anew."""

    def __init__(self, state: StateFolder, endpoints: Callable[[Mapping[str, int]], Endpoints], progress: Say) -> None:
        self._state, self._endpoints, self._progress = state, endpoints, progress
        self._foundation: list[Supervisor] = []
        self._services: list[Supervisor] = []
        self._announced = False

    async def start_foundation(self, specs: Sequence[Spec]) -> None:
        """Start the processes that the services need, the broker first.

        Raises:
            StartFailed: with the end of the log of the process that did not start.
        """
        self._foundation = self._supervisors(specs)
        await _all(self._foundation, Supervisor.start)

    async def start_services(self, specs: Sequence[Spec]) -> None:
        """Start all services at once: none waits for another.

        Raises:
            StartFailed: with the end of the log of the process that did not start.
        """
        self._services = self._supervisors(specs)
        await _all(self._services, Supervisor.start)

    def announce(self) -> None:
        """Write `endpoints.json`."""
        self._announced = True
        pids = {each.name: each.pid for each in [*self._foundation, *self._services]}
        self._endpoints(pids).write(self._state.endpoints)

    async def stop_services(self) -> None:
        """Stop the services: each finishes its deliveries in flight and sends its last spans."""
        services, self._services = self._services, []
        await _all(services, Supervisor.stop)

    async def stop(self) -> None:
        """Stop all processes, the services first and the broker last."""
        self._announced = False
        self._state.endpoints.unlink(missing_ok=True)
        await self.stop_services()
        for each in reversed(self._foundation):
            await each.stop()

    def _supervisors(self, specs: Sequence[Spec]) -> list[Supervisor]:
        return [Supervisor(spec, self._state, self._on_change) for spec in specs]

    def _on_change(self, words: str) -> None:
        self._progress(words)
        if self._announced:
            self.announce()


async def clear(state: StateFolder, progress: Say) -> None:
    """Stop the processes that an earlier start left running, and remove its `endpoints.json`.

    Raises:
        StartFailed: a process can't be stopped.
    """
    state.endpoints.unlink(missing_ok=True)
    await end_leftovers(state, progress)


async def provide(connection: Transport, needed: Topology) -> int:
    """Make the streams and durables that are missing or differ; returns how many. A new reaction that does not declare
    `since` begins at the beginning.

    Raises:
        Drift: a difference can't be removed without losing data.
    """
    steps = await provision.plan(connection, needed, starts=Starts(unsaid="beginning"))
    await provision.apply(connection, steps)
    return sum(step.change is not Change.KEEP for step in steps)


async def _all(supervisors: Sequence[Supervisor], step: Callable[[Supervisor], Coroutine[Any, Any, None]]) -> None:
    """Run the step for every process at once; raise the first failure when all have finished."""
    results = await asyncio.gather(*(step(each) for each in supervisors), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
