"""A process of the mesh: one service or several, each with its own connection, until it is told to stop."""

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from jetmesh import health as probes
from jetmesh import micro, partitions, telemetry
from jetmesh.gauges import Gauges, report, report_readiness
from jetmesh.health import Health
from jetmesh.mesh import Mesh, connect
from jetmesh.runner import Runner
from jetmesh.service import DeclarationError, Service
from jetmesh.settings import Settings

log = logging.getLogger("jetmesh")

Wire = Callable[[Mesh], AbstractAsyncContextManager[Any]]


def run(services: Sequence[Service], everyone: Sequence[Service], settings: Settings) -> int:
    """Run `services` until SIGTERM or SIGINT; the exit status: 0 after a clean stop."""
    return _loop(_run(services, everyone, settings))


def _loop(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return asyncio.run(main) if sys.platform == "win32" else uvloop.run(main)


async def _run(services: Sequence[Service], everyone: Sequence[Service], settings: Settings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    states = [Health(service.name) for service in services]
    share = settings.model_copy(update={"held_bytes": settings.held_bytes // len(services)})
    server = await _serve_health(states, settings)
    status = 0
    try:
        async with asyncio.TaskGroup() as group:
            for service, state in zip(services, states, strict=True):
                group.create_task(serve(service, everyone, share, state, stopping), name=service.name)
    except* (ConnectionError, TimeoutError, DeclarationError, ValueError) as failed:
        for error in failed.exceptions:
            log.error("%s", error)
        status = 1
    finally:
        if server:
            server.close()
    return status


async def _serve_health(states: list[Health], settings: Settings) -> asyncio.Server | None:
    if not settings.health_port:
        return None
    return await probes.serve(states, settings.health_host, settings.health_port)


async def serve(
    service: Service,
    everyone: Sequence[Service],
    settings: Settings,
    health: Health,
    stopping: asyncio.Event,
    wire: Wire | None = None,
) -> None:
    """Run one service until `stopping` is set, then let go of everything in order. `wire` makes its dependencies
    where the module `wiring` beside its reactions shall not."""
    observed = telemetry.start(service.name)
    report_readiness(observed.meter, health)
    try:
        async with connect(settings, observed, f"jetmesh-{service.name}") as mesh:
            if count := settings.split.get(service.stream):
                mesh.recorder.batch_by(partitions.lane(count))
            runner = Runner(mesh, service, everyone)
            health.trouble = lambda: runner.trouble
            health.notes = runner.switches.notes
            started = asyncio.create_task(_start(runner, health, stopping, wire or partial(wired, service)))
            try:
                await _first(started, runner, stopping)
            finally:
                started.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await started
    finally:
        await asyncio.to_thread(observed.shut_down)
        log.info("%s stopped", service.name)


async def _start(runner: Runner, health: Health, stopping: asyncio.Event, wire: Wire) -> None:
    """Wait for what the service needs, work until told to stop, and stop."""
    mesh = runner.mesh
    health.waiting("waiting for the topology")
    await runner.wait_for_topology(health.waiting)
    health.waiting("waiting for what the service needs")
    async with wire(mesh) as dependencies:
        await runner.start(dependencies)
        if mesh.telemetry.is_measured:
            mesh.run(Gauges(runner).watch)
        announced = await micro.answer(mesh, runner.service, health, partial(report, runner))
        beside = [asyncio.ensure_future(task()) for task in mesh.background]
        _collect_seldom()
        health.ready()
        log.info("%s is ready: %s", runner.service.name, ", ".join(r.name for r in runner.service.reactions))
        await _until(stopping, beside)
        health.waiting("stopping")
        await announced.stop()
        await runner.stop()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


def _collect_seldom() -> None:
    """What a process has loaded stays, and deliveries leave few cycles behind: left to its defaults, the garbage
    collector takes a fifth of a busy process to look at both again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _until(stopping: asyncio.Event, beside: Sequence["asyncio.Future[None]"]) -> None:
    """Until it is time to stop, or something beside the reactions fails, which fails the service."""
    stop: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
    await asyncio.wait([stop, *beside], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for task in beside:
        if task.done():
            await task


async def _first(task: "asyncio.Task[None]", runner: Runner, stopping: asyncio.Event) -> None:
    """Until the start has ended (well or not); a stop that comes while it still waits for something ends it at once."""
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    if not task.done() and runner.pulls:
        await asyncio.wait([task], timeout=STOP_SECONDS)
    stop.cancel()


STOP_SECONDS = 30.0
"""How long a stop may take in all, before what is left is cancelled."""


@asynccontextmanager
async def wired(service: Service, mesh: Mesh) -> AsyncIterator[Any]:
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
    async with wire(mesh) as dependencies:
        yield dependencies
