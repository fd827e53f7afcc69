"""Services on a real broker, in the process of the test, with the dependencies that the test gives."""

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

from jetmesh.app import App, middlewares_of
from jetmesh.blob import has_blobs
from jetmesh.cloudevents import cloud_event
from jetmesh.event import INTAKE, Event, EventType, id_of, is_occurrence, stream_of
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.delivery import derived_id
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import key_subjects, subject_of, subjects_of
from jetmesh.middleware import Middleware
from jetmesh.process import process
from jetmesh.process.health import Health
from jetmesh.runtime.context import Context, connect
from jetmesh.service import Service
from jetmesh.settings import Settings, check_names, read
from jetmesh.telemetry import providers
from jetmesh.topology import names, partitions, provision
from jetmesh.topology.names import BESIDE, DEAD_LETTERS, DEAD_SUBJECTS, timers_of
from jetmesh.topology.starting import Starts
from jetmesh.topology.streams import Consumer, Stream, Topology, bucket, facts_of, topology

AnyEvent = TypeVar("AnyEvent", bound=Event)

WITHIN_SECONDS = 15.0
AGAIN_SECONDS = 0.02


@dataclass(slots=True)
class Replica:
    """One running service in this process."""

    service: Service
    health: Health
    stopping: asyncio.Event
    task: "asyncio.Task[None]"

    async def stop(self) -> None:
        """Stop as SIGTERM does; raises the error of the service if it failed."""
        self.stopping.set()
        await self.task


class LocalMesh:
    """Services on one broker, and a client of the test that publishes and reads.

    `context` is that client's: its publisher, its direct get and its connection.
    """

    def __init__(
        self, services: Sequence[Service], dependencies: Sequence[Any], environment: Mapping[str, str]
    ) -> None:
        self.services = App(services, middlewares_of(services))
        self.environment = dict(environment)
        check_names(self.environment, strict=True)
        self.settings: Settings = read(Settings, self.environment)
        self.replicas: list[Replica] = []
        self.context: Context
        self._dependencies = tuple(dependencies)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.context = await self._stack.enter_async_context(
            connect(self.settings, providers.start("test", {}), "test")
        )
        await self.apply()
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self.replicas:
            replica.stopping.set()
        try:
            await asyncio.gather(*(replica.task for replica in self.replicas))
        finally:
            await self._stack.aclose()

    @property
    def topology(self) -> Topology:
        """The topology of the services, with the streams of services that they read and that do not run here."""
        chosen = self.settings
        needed = topology(self.services, ack_wait_seconds=chosen.ack_wait_seconds, split=chosen.split)
        return replace(needed, streams=(*_foreign(self.services), *needed.streams))

    async def apply(self) -> None:
        """Make the streams and durables that the services need. A reaction that is new on a stream with events, and
        declares no `since`, begins at the beginning."""
        starts = Starts(unsaid="beginning")
        steps = await provision.plan(self.context.connection, self.topology, starts=starts)
        await provision.apply(self.context.connection, steps)

    async def start(self, service: Service, **environment: str) -> Replica:
        """Start a (further) replica of a service and wait until it is ready; `environment` adds to the mesh's."""
        stopping, health = asyncio.Event(), Health(service.name)
        check_names(environment, strict=True)
        settings = read(Settings, {**self.environment, **environment})
        serving = process.serve(service, self.services, settings, health, stopping, self._wire(service))
        replica = Replica(service, health, stopping, asyncio.create_task(serving, name=service.name))
        self.replicas.append(replica)
        await until(lambda: replica.task.done() or not health.why_not, what=f"{service.name} is ready")
        if replica.task.done():
            self.replicas.remove(replica)
            await replica.task
        return replica

    async def stop(self, service: Service) -> None:
        """Stop every replica of a service."""
        for replica in [replica for replica in self.replicas if replica.service is service]:
            self.replicas.remove(replica)
            await replica.stop()

    async def publish(self, subject: str, data: bytes | str | object, headers: Mapping[str, str] | None = None) -> int:
        """Publish as any client: text as it is, other objects as JSON. Returns the sequence in the stream.

        It is retried while the broker is away, so that after an outage the message may be stored twice.
        """
        body = (
            data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode()
        )
        message = Message(subject, body, dict(headers or {}))

        async def stored() -> int:
            try:
                return await self.context.publisher.record(message, limited=False)
            except Unavailable:
                return 0

        return int(await until(stored, what=f"the broker takes {subject}"))

    async def outside(self, event: Event) -> int:
        """Publish an event as a client outside does: without a key in the subject, without headers."""
        return await self.publish(type(event).type, event.model_dump_json())

    async def record(self, event: Event) -> int:
        """Record an event as its owner does, but without a guard: a second call stores a duplicate."""
        event_id = derived_id("test", type(event).type, event.key, *filter(None, [id_of(event)]))
        headers = cloud_event(
            type(event), event.key, event_id=event_id, correlation_id=event.key, causation_id="", trace={}
        )
        occurrence = (id_of(event) or event_id) if is_occurrence(type(event)) else ""
        return await self.publish(subject_of(type(event), event.key, occurrence), event.model_dump_json(), headers)

    async def story(self, key: str) -> list[Stored]:
        """The events that all services recorded about a key, oldest first."""
        found: list[Stored] = []
        for stream in self._logs():
            found += await self.context.direct_get.last(stream, [key_subjects(key)])
        return sorted(found, key=lambda stored: stored.time)

    async def types(self, key: str) -> set[str]:
        """The types of events recorded about a key."""
        return {stored.type for stored in await self.story(key)}

    async def recorded(self, event_type: type[AnyEvent], key: str, within_seconds: float = WITHIN_SECONDS) -> AnyEvent:
        """Wait until an event about a key is recorded, while the broker may be away; returns it."""

        async def look() -> list[Stored]:
            with suppress(Unavailable):
                return await self.context.direct_get.last(stream_of(event_type.owner), [subjects_of(event_type, key)])
            return []

        found = await until(look, within_seconds, f"{event_type.type} about {key} is recorded")
        return event_type.read(found[0].data)

    async def occurrences(self, event_type: type[AnyEvent], key: str) -> list[AnyEvent]:
        """What has happened about a key so far, of a type that happens many times, oldest first."""
        found: list[AnyEvent] = []
        first, subject = 1, subjects_of(event_type, key)
        stream = partitions.name_for(stream_of(event_type.owner), key, self.settings.split)
        while page := (await self.context.direct_get.page(stream, subject, first, 500)).messages:
            found += [event_type.read(stored.data) for stored in page]
            first = page[-1].sequence + 1
        return found

    async def count(self, stream: str) -> int:
        """How many messages a stream holds."""
        info = await api.request(self.context.connection, f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"]) if info else 0

    async def dead_letters(self, count: int = 0, within_seconds: float = WITHIN_SECONDS) -> list[Stored]:
        """The dead letters, once there are `count` of them; their headers hold the reason."""

        letters: list[Stored] = []

        async def enough() -> bool:
            with suppress(Unavailable):
                letters[:] = await self.context.direct_get.last(DEAD_LETTERS, [DEAD_SUBJECTS])
                return len(letters) >= count
            return False

        await until(enough, within_seconds, f"there are {count} dead letters")
        return letters

    async def settled(self, within_seconds: float = WITHIN_SECONDS, *, timers: bool = True) -> None:
        """Wait until all deliveries of all services are settled and none are pending, except deadlines; the broker may
        be away meanwhile. With `timers=False`, deliveries that wait for a long pause or for another version of their
        service may be left."""
        consumers = self.topology.work
        left: list[str] = []

        async def nothing_left() -> bool:
            try:
                open_ = [text for consumer in consumers if (text := await self._left(consumer))]
                left[:] = [*open_, *(await self._delayed() if timers else ())]
            except Unavailable as away:
                left[:] = [str(away)]
            return not left

        try:
            await until(nothing_left, within_seconds)
        except AssertionError:
            raise AssertionError(f"not settled within {within_seconds:g} s: {'; '.join(left)}") from None

    async def deliver_again(self, service: Service) -> None:
        """Deliver everything to a service a second time: its durables are deleted and made anew."""
        for consumer in self.topology.consumers:
            if consumer.service == service.name:
                await api.request(
                    self.context.connection, f"CONSUMER.DELETE.{consumer.stream}.{consumer.durable}", strict=True
                )
        await self.apply()

    async def until(self, condition: Callable[[], Any], within_seconds: float = WITHIN_SECONDS, what: str = "") -> Any:
        """Wait for `condition`, a function or a coroutine function; returns its first true result."""
        return await until(condition, within_seconds, what)

    async def _left(self, consumer: Consumer) -> str:
        """How many messages of a consumer are pending or not acknowledged, in words; empty if there are none."""
        name = f"{consumer.stream}/{consumer.durable}"
        info = await api.request(
            self.context.connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}", strict=True
        )
        waiting, running = info["num_pending"], info["num_ack_pending"]
        return f"{name}: {waiting} waiting, {running} running" if waiting or running else ""

    async def _delayed(self) -> list[str]:
        """How many deliveries wait in the timers of each service, in words."""
        found = []
        for stream in (timers_of(service.stream) for service in self.services):
            wanted = {"subjects_filter": names.TIMERS}
            info = await api.request(self.context.connection, f"STREAM.INFO.{stream}", wanted)
            waiting = [each for each in (info or {}).get("state", {}).get("subjects") or () if not names.is_note(each)]
            found += [f"{stream}: {len(waiting)} delayed"] if waiting else []
        return found

    def _logs(self) -> list[str]:
        beside = {INTAKE, DEAD_LETTERS}
        beside |= {of(s.stream) for s in self.services for of in BESIDE}
        return [stream.name for stream in self.topology.streams if stream.name not in beside]

    def _wire(self, service: Service) -> process.Wire | None:
        """The dependencies that the test gives to a service; if it gives none, the service's own wiring."""
        given = [one for one in self._dependencies if service.dependencies and isinstance(one, service.dependencies)]
        if service.dependencies is not None and not given:
            return None

        @asynccontextmanager
        async def wire(_: Context) -> AsyncIterator[Any]:
            yield given[0] if given else None

        return wire


class MeshOf(Protocol):
    """The fixture `mesh_of`: the given services, started one after the other, on the test's broker.

    `dependencies` go to the services that declare their types; `middlewares` are the app's; `environment` are settings
    as environment variables. With `start=False` the test starts the services with `LocalMesh.start`.
    """

    async def __call__(
        self,
        *services: Service,
        dependencies: Sequence[Any] = (),
        middlewares: Sequence[Middleware] = (),
        start: bool = True,
        **environment: str,
    ) -> LocalMesh:
        """Make one."""
        ...


async def until(condition: Callable[[], Any], within_seconds: float = WITHIN_SECONDS, what: str = "") -> Any:
    """Wait for `condition`, a function or a coroutine function; its first true answer.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        answer = condition()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"not within {within_seconds:g} s: {name}")
        await asyncio.sleep(AGAIN_SECONDS)


def _foreign(services: Sequence[Service]) -> list[Stream]:
    """The streams of services whose events are read here and that do not run here."""
    here = {service.name for service in services}
    read: dict[str, list[EventType]] = {}
    for reaction in (r for service in services for r in service.reactions if not r.form.keeps_all):
        for event in reaction.events:
            if event.owner not in here:
                read.setdefault(stream_of(event.owner), []).append(event)
    buckets = [bucket(events[0].owner) for events in read.values() if any(map(has_blobs, events))]
    return buckets + [
        Stream(name, {"name": name, "subjects": facts_of(events), "storage": "file", "allow_direct": True})
        for name, events in read.items()
    ]


__all__ = ["LocalMesh", "MeshOf", "Replica", "until"]
