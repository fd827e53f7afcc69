"""Runs services in a process, each with its own connection, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import importlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from jetmesh.common import loop
from jetmesh.common.garbage import collect_seldom
from jetmesh.common.tasks import cancelled
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.process import health as probes
from jetmesh.process import micro
from jetmesh.process.gauges import Gauges, report, report_readiness
from jetmesh.process.health import Health
from jetmesh.reaction import DeclarationError
from jetmesh.runtime.context import BackgroundTask, Context, connect
from jetmesh.runtime.endpoints import endpoints
from jetmesh.runtime.runner import Runner
from jetmesh.service import Service
from jetmesh.settings import Settings, SettingsError, check_names, environment
from jetmesh.telemetry import providers
from jetmesh.topology import partitions
from jetmesh.topology.provision import Drift

log = logging.getLogger("jetmesh")

Wire = Callable[[Context], AbstractAsyncContextManager[Any]]

EXPECTED = (ConnectionError, TimeoutError, DeclarationError, ValueError, ApiError, Drift, Unavailable)
"""Errors that end a process with one line, without a traceback."""
SIGNALS = signal.SIGTERM, signal.SIGINT
STOP_SECONDS = 10.0
"""How long a stop may take after the drain, before the rest is cancelled."""
END_SECONDS = 1.0
"""How long a task that was cancelled may take to end, before it is cancelled again."""


def run(services: Sequence[Service], everyone: Sequence[Service], settings: Settings) -> int:
    """Run `services` until SIGTERM or SIGINT; the exit status: 0 after a clean stop."""
    return loop.run(_run(services, everyone, settings))


async def _run(services: Sequence[Service], everyone: Sequence[Service], settings: Settings) -> int:
    stopping = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    states = [Health(service.name) for service in services]
    share = settings.model_copy(update={"held_bytes": settings.held_bytes // len(services)})
    status = 0
    server = await _serve_health(states, settings)
    try:
        async with asyncio.TaskGroup() as group:
            for service, state in zip(services, states, strict=True):
                group.create_task(serve(service, everyone, share, state, stopping), name=service.name)
    except* Exception as failed:
        for error in _each(failed):
            _report(error)
        status = 1
    finally:
        if server:
            server.close()
    return status


def _each(failed: BaseExceptionGroup[Exception]) -> Iterable[Exception]:
    """The errors of a group, and of the groups in it."""
    for error in failed.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error


def _report(error: Exception) -> None:
    """Log what ends the process in one line; an unexpected error has its traceback."""
    expected = isinstance(error, EXPECTED)
    words = str(error) if expected else f"{type(error).__name__}: {error}"
    log.error("%s", " ".join(words.split()), exc_info=None if expected else error)


async def _serve_health(states: list[Health], settings: Settings) -> asyncio.Server | None:
    if not settings.health_port:
        return None
    try:
        return await probes.serve(states, settings.health_host, settings.health_port)
    except OSError as taken:
        place = f"{settings.health_host}:{settings.health_port}"
        why = f"{place} can't be used ({taken.strerror or taken}); choose another port, or 0 for none"
        raise SettingsError(f"settings: JETMESH_HEALTH_PORT: {why}") from None


async def serve(
    service: Service,
    everyone: Sequence[Service],
    settings: Settings,
    health: Health,
    stopping: asyncio.Event,
    wire: Wire | None = None,
) -> None:
    """Run one service until `stopping` is set, then release everything in order. `wire` makes its dependencies; without
    it, the module `wiring` beside its reactions."""
    observed = providers.start(service.name)
    report_readiness(observed.meter, health)
    begun = asyncio.Event()

    async def live() -> None:
        lane = partitions.lane([service], settings.split)
        async with connect(settings, observed, f"jetmesh-{service.name}", health.waiting, lane) as mesh:
            runner = Runner(mesh, service, everyone)
            health.begins(runner)
            await _work(runner, health, begun, stopping, wire or partial(wired, service))

    try:
        await _until_stopped(asyncio.create_task(live()), begun, stopping, settings.drain_seconds + STOP_SECONDS)
    finally:
        await asyncio.to_thread(observed.shut_down)
        log.info("%s stopped", service.name)


async def _until_stopped(
    life: "asyncio.Task[None]", begun: asyncio.Event, stopping: asyncio.Event, seconds: float
) -> None:
    """Wait until the service has ended. A stop ends a service at once that still waits; one at work gets this long."""
    try:
        await _first([stopping], [life])
        if begun.is_set():
            await asyncio.wait([life], timeout=seconds)
    finally:
        await cancelled(life, STOP_SECONDS)
    with contextlib.suppress(asyncio.CancelledError):
        await life


async def _work(runner: Runner, health: Health, begun: asyncio.Event, stopping: asyncio.Event, wire: Wire) -> None:
    """Wait for what the service needs, work until it is stopped, and stop."""
    mesh = runner.context
    health.unready("waiting for the topology")
    await runner.wait_for_topology(health.waiting)
    health.unready("waiting for what the service needs")
    async with wire(mesh) as dependencies:
        check_names(environment())  # now that the wiring has read its own
        begun.set()
        await runner.start(dependencies)
        if mesh.telemetry.is_measured:
            Gauges(runner)
        declared = endpoints(mesh, runner.service, dependencies)
        announced = await micro.answer(mesh, runner.service, health, partial(report, runner), declared)
        running = [asyncio.create_task(_keep(each), name=each.name) for each in (*runner.kept, *mesh.background)]
        collect_seldom()
        await _until_up(mesh.background, health, stopping, running)
        health.ready()
        log.info("%s is ready: %s", runner.service.name, ", ".join(r.name for r in runner.service.reactions))
        await _first([stopping], running)
        failures = [error for task in running if task.done() and (error := task.exception())]
        health.unready(str(failures[0]) if failures else "stopping")
        if not failures:
            await asyncio.gather(*(each.drain() for each in mesh.background if each.drain))
        await micro.withdraw(announced)
        await runner.stop()
        await asyncio.gather(*(cancelled(task, END_SECONDS) for task in running))
        for failure in failures:
            raise failure


async def _keep(task: BackgroundTask) -> None:
    """Run what must run for as long as the service does, such as an HTTP server.

    Raises:
        Exception: it failed or ended.
    """
    try:
        await task.run()
    except SystemExit as left:  # uvicorn raises it if it can't listen; it would end the event loop
        raise RuntimeError(f"{task.name} has ended with status {left.code}") from None
    raise RuntimeError(f"{task.name} has ended, and the service can't work without it")


async def _until_up(
    background: Sequence[BackgroundTask],
    health: Health,
    stopping: asyncio.Event,
    running: Sequence["asyncio.Task[None]"],
) -> None:
    """Wait until all background tasks take requests, or one of them has ended."""
    for task in background:
        if task.up:
            health.unready(f"waiting for {task.name}")
            await _first([stopping, task.up], running)


async def _first(events: Sequence[asyncio.Event], tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Wait until one of the events is set or one of the tasks has ended."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([*waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


@asynccontextmanager
async def wired(service: Service, context: Context) -> AsyncIterator[Any]:
    """The dependencies of a service, made by `wire` in the module `wiring` beside its reactions; None if it needs none.

    Raises:
        DeclarationError: there is no such function.
    """
    name = f"{service.module.rpartition('.')[0] or service.module}.wiring"
    try:
        wire: Wire = importlib.import_module(name).wire
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
        if service.dependencies is not None:
            raise DeclarationError(
                f"{service.name} needs {service.dependencies.__name__}, but there is no module {name}; write one with "
                f"`wire(mesh)`, an async context manager that yields it"
            ) from None
        yield None
        return
    async with wire(context) as dependencies:
        yield dependencies
