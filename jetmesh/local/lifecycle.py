"""Starts the processes of a mesh, the broker first, and stops them in the reverse order."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import click

from jetmesh.app import name_of
from jetmesh.common.signals import until_signalled
from jetmesh.contracts.registry import Owned
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.transport import Transport
from jetmesh.local import tracing
from jetmesh.local.plan import Plan
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec, StartFailed, Supervisor, end_leftovers
from jetmesh.local.view import View
from jetmesh.operate.deployment import Deployment, with_outside
from jetmesh.runtime.context import Context
from jetmesh.topology import provision
from jetmesh.topology.provision import Change, Drift, Step
from jetmesh.topology.starting import Starts
from jetmesh.topology.streams import Consumer, Topology, topology

Play = Callable[[Plan, "Lifecycle"], Coroutine[Any, Any, int]]
"""What a command does with a mesh: it starts the processes, and returns the command's status."""


class Lifecycle:
    """The processes of a mesh. When one is started again, `endpoints.json` is written anew."""

    def __init__(self, plan: Plan, view: View) -> None:
        self._plan, self._view = plan, view
        self._foundation: list[Supervisor] = []
        self._services: list[Supervisor] = []
        self._steps: Sequence[Step] = ()
        self._announced = False

    async def start_foundation(self) -> None:
        """Start the broker and the backing services.

        Raises:
            StartFailed: with the end of the log of the process that did not start.
        """
        with self._view.step("broker") as words:
            self._foundation = self._supervisors(self._plan.foundation())
            await _all(self._foundation, Supervisor.start)
            words.append(self._plan.nats_url)
        for name, url in self._plan.backing.urls.items():
            self._view.done(name.removesuffix("_url"), url)
        if "traces_url" in self._plan.backing.urls and (onward := tracing.sent_on_to()):
            self._view.done("traces", f"also sent on to {onward}")

    async def start_services(self, connection: Transport) -> None:
        """Make the streams and durables, and start all services at once: none waits for another. One that reads what
        another app records starts to work once that app is there.

        Raises:
            StartFailed: with the end of the log of the process that did not start.
            Drift: a difference can't be removed without losing data.
        """
        with self._view.step("topology") as words:
            services = self._plan.services
            split = self._plan.split
            needed = with_outside(topology(services, split=split, app=name_of(services)), services, split)
            self._steps = await provide(connection, needed)
            made = sum(step.change not in (Change.KEEP, Change.AWAIT) for step in self._steps)
            words.append(f"{len(needed.streams)} streams, {len(needed.consumers)} durables; {made or 'none'} made now")
        awaited = [step for step in self._steps if step.change is Change.AWAIT]
        for step in awaited:
            self._view.warn(f"{step.what}: {step.reason}; NATS_URL names a broker for both apps")
        waiting = {step.wanted.service for step in awaited if isinstance(step.wanted, Consumer)}
        with self._view.step("services") as words:
            self._services = self._supervisors([self._plan.service(each.name) for each in self._plan.services])
            await _all(self._services, lambda each: each.start(until_ready=each.name not in waiting))
            words.append(", ".join(f"{each.name}{' (waits)' * (each.name in waiting)}" for each in self._services))

    async def keep_contracts(self, context: Context) -> None:
        """Keep the contracts on the broker, as `jetmesh topology apply` does, for the console and for other apps."""
        try:
            await Deployment(context.connection, self._plan.services, context.settings).keep_contracts(self._steps)
        except (Owned, Unavailable, ApiError, TimeoutError) as refused:
            self._view.warn(f"the contracts are not kept on the broker: {refused}")

    def announce(self) -> None:
        """Write `endpoints.json`."""
        self._announced = True
        pids = {each.name: each.pid for each in [*self._foundation, *self._services]}
        self._plan.endpoints(pids).write(self._plan.state.endpoints)

    def pid(self, name: str) -> int:
        """The id of the process of this name; 0 while none runs."""
        return self._named(name).pid

    async def hold(self, name: str) -> None:
        """Stop a process, and leave it so until it is released."""
        await self._named(name).stop()
        self.announce()

    async def release(self, name: str) -> None:
        """Start a process that was held.

        Raises:
            StartFailed: with the end of its log.
        """
        await self._named(name).start()
        self.announce()

    async def stop_services(self) -> None:
        """Stop the services: each finishes its deliveries in flight and sends its last spans."""
        services, self._services = self._services, []
        await _all(services, Supervisor.stop)

    async def stop(self) -> None:
        """Stop all processes, the services first and the broker last."""
        self._announced = False
        self._plan.state.endpoints.unlink(missing_ok=True)
        await self.stop_services()
        for each in reversed(self._foundation):
            await each.stop()

    def _named(self, name: str) -> Supervisor:
        return next(each for each in (*self._foundation, *self._services) if each.name == name)

    def _supervisors(self, specs: Sequence[Spec]) -> list[Supervisor]:
        return [Supervisor(spec, self._plan.state, self._on_change) for spec in specs]

    def _on_change(self, words: str) -> None:
        self._view.warn(words)
        if self._announced:
            self.announce()


async def run(state: StateFolder, view: View, plan: Callable[[], Plan], play: Play) -> int | None:
    """Stop what an earlier start left running, `plan`, and `play` until that ends or a signal comes; then stop every
    process. What `play` returned; None after a signal.

    Raises:
        click.ClickException: a process does not start or stop, or the broker refuses something.
    """
    state.endpoints.unlink(missing_ok=True)
    try:
        await end_leftovers(state, view.warn)
        planned = plan()
        mesh = Lifecycle(planned, view)
        try:
            return await until_signalled(play(planned, mesh))
        finally:
            with view.step("stopped", "stopping"):
                await mesh.stop()
    except (StartFailed, ApiError, Drift, Unavailable, TimeoutError) as failed:
        raise click.ClickException(str(failed)) from failed


async def provide(connection: Transport, needed: Topology) -> Sequence[Step]:
    """Make the streams and durables that are missing or differ; what was to be done. A new reaction that does not
    declare `since` begins at the beginning.

    Raises:
        Drift: a difference can't be removed without losing data.
    """
    steps = await provision.plan(connection, needed, starts=Starts(unsaid="beginning"))
    await provision.apply(connection, steps)
    return steps


async def _all(supervisors: Sequence[Supervisor], step: Callable[[Supervisor], Coroutine[Any, Any, None]]) -> None:
    """Run the step for every process at once; raise the first failure when all have finished."""
    results = await asyncio.gather(*(step(each) for each in supervisors), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
