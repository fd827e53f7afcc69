"""What a service works with: the connection, the publisher, the stories. Its wiring and adapters get it."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from jetmesh.event import Event, EventType, Recorded, entity_of
from jetmesh.history import Histories
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.credentials import Credentials
from jetmesh.jetstream.demand import Busy, busy_of_this_thread
from jetmesh.jetstream.direct_get import DirectGet, Stored
from jetmesh.jetstream.group_commit import GroupCommit, Lane, entity_lane
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.jetstream.micro import Responder
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.store_pace import StorePace
from jetmesh.jetstream.subject import story_subject
from jetmesh.jetstream.tenant import Tenant
from jetmesh.jetstream.transport import Transport
from jetmesh.request_model import AnyRequest, Response
from jetmesh.runtime.alone import Alone
from jetmesh.runtime.blobs import ObjectBlobs
from jetmesh.runtime.pools import Pools
from jetmesh.runtime.publish import Outside
from jetmesh.runtime.publish_result import AlreadyThere, PublishResult, Taken
from jetmesh.runtime.reader import EventReader, Reach, RecordedPage
from jetmesh.runtime.requests import Requests
from jetmesh.runtime.same_key import SameKeys
from jetmesh.runtime.stories import KnownStories
from jetmesh.runtime.version_skew import Versions
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.telemetry.spans import Telemetry
from jetmesh.topology.accounts import API_PREFIX
from jetmesh.topology.partitions import PartitionedDirectGet

log = logging.getLogger("jetmesh")

OnWaiting = Callable[[str], None]
"""Called with what the process waits for, and why it is missing."""


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """A task that runs next to the reactions, such as an HTTP server. `up` is set once it takes requests. `drain` runs
    first when the service stops, after it has become unready."""

    name: str
    run: Callable[[], Awaitable[None]]
    up: asyncio.Event | None = None
    drain: Callable[[], Awaitable[None]] | None = None


@dataclass(slots=True)
class Context:
    """The parts of a service that share one connection. They live from `connect` to the end of its block."""

    settings: Settings
    connection: Transport
    publisher: Publisher
    group_commit: GroupCommit
    """Around the publisher: what records the events of stories."""
    direct_get: DirectGet
    in_flight: InFlight
    telemetry: Telemetry
    versions: Versions
    outside: Outside
    requests: Requests
    pools: Pools
    reader: EventReader
    blobs: ObjectBlobs
    """Stores and reads the objects that events name (`jetmesh.Blobs`)."""
    known: KnownStories = field(default_factory=KnownStories)
    same_keys: SameKeys = field(default_factory=SameKeys)
    histories: Histories = field(default_factory=Histories)
    alone: Alone = field(default_factory=Alone)
    """Where the crash guard runs a delivery alone (`jetmesh.runtime.crash_guard`)."""
    busy: Busy | None = None
    """For how long the thread of this service was busy; None where nothing tells."""
    public: Transport | None = None
    """The connection that answers `nats micro`; None: the same."""
    endpoints: dict[str, Responder] = field(default_factory=dict)
    background: list[BackgroundTask] = field(default_factory=list)

    async def story(self, service: Service, key: str) -> list[Stored]:
        """A service's story of a key: the last event of each type, oldest first.

        Raises:
            Unavailable: its stream did not answer.
        """
        entities = dict.fromkeys(map(entity_of, service.records))
        return await self.direct_get.last(service.stream, [story_subject(entity, key) for entity in entities])

    async def publish(self, event: Event, *, wait_seconds: float = 0.0) -> PublishResult:
        """Publish an event as anybody outside may: without a key in the subject, for its owner to check and record. The
        current span becomes its parent. With `wait_seconds` it waits so long for the owner's decision; the user must be
        allowed to read the owner's stream and the dead letters.

        Raises:
            Unavailable: the broker does not take it now; asking again is safe.
            TypeError: it is no event, or none that is declared `from_outside`.
        """
        return await self.outside.publish(event, wait_seconds)

    async def record_first(self, service: Service, event: Event) -> Taken | AlreadyThere:
        """Record the event that begins a service's story of its key, or say what the story is. The current span becomes
        the parent of the whole story's trace.

        Raises:
            Unavailable: the broker does not take it now, or it is unknown whether it did; asking again is safe.
        """
        return await self.outside.record_first(service.stream, event)

    async def request(self, request: AnyRequest[Response], *, timeout_seconds: float = 5.0) -> Response:
        """Ask the service that answers a request; its response. The current span becomes the parent. Ask only what
        changes nothing: a reaction that is run again asks again.

        Raises:
            Problem: what the endpoint says is wrong.
            Unavailable: nobody answers now.
        """
        return await self.requests.request(request, timeout_seconds)

    async def read(self, key: str, event_type: EventType, *, after: int = 0, limit: int = 100) -> RecordedPage:
        """A page of the events of a type that were recorded about a key: the first behind the position `after` (the
        `sequence` of the last one that was read), and how many are left. `limit` is at most 1,000. With an account of
        its own a service reads its own stream.

        Raises:
            Unavailable: the stream does not answer, there is none, or this user may not read it.
        """
        return await self.reader.read(key, event_type, after, limit)

    def follow(self, key: str, *types: EventType, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """The events of these types, of one owner, that were recorded about a key behind the position `after`, and then
        those that come: each once, in the order of the stream. While the broker is away it waits, and goes on where it
        was. After a restore of the stream it goes on with what is recorded from then on, under sequences that came
        before. With an account of its own a service follows its own stream, which is read again and again: what a
        replica of the stream learns late may come behind a newer event of another type.

        Raises:
            Unavailable: it can't begin: the broker is away, there is no such stream, or this user may not read it.
            TypeError: the types have no owner in common.
        """
        return self.reader.follow(types, key, after)

    def endpoint(self, name: str, answer: Responder) -> None:
        """Answer requests to `name` of this service (NATS micro, ADR-32)."""
        self.endpoints[name] = answer

    def run(
        self, task: Callable[[], Awaitable[None]], *, name: str = "", up: asyncio.Event | None = None,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        """Run `task` next to the reactions, for instance an HTTP server. The service is not ready before `up` is set,
        and fails if the task ends earlier than it. When it stops, it is not ready any more, `drain` runs, while the
        reactions still do, and then the task is cancelled."""
        self.background.append(BackgroundTask(name or getattr(task, "__qualname__", "a task"), task, up, drain))


@asynccontextmanager
async def connect(
    settings: Settings, telemetry: Telemetry, name: str, waiting: OnWaiting | None = None, lane: Lane | None = None
) -> AsyncIterator[Context]:
    """Connect to the broker, retrying for `connect_seconds`; `waiting` gets the reason why it takes so long, and `lane`
    names the stream of a subject.

    Raises:
        ConnectionError: no server let us in; the text names the address and what to try.
        SettingsError: a file that a setting names can't be read, or does not hold what it must.
    """
    connection = Connection(Credentials(settings), settings.api_prefix)
    public = Connection(Credentials(settings, micro=True)) if settings.nats_micro_nkey_seed else None
    try:
        await _reach(connection, settings, name, waiting or _nothing)
        if public:
            await _reach(public, settings, f"{name}-micro", waiting or _nothing)
        async with context_on(connection, settings, telemetry, public, lane) as context:
            with busy_of_this_thread() as context.busy:
                yield context
    finally:
        await _close(connection)
        if public:
            await _close(public)


@asynccontextmanager
async def context_on(
    connection: Transport,
    settings: Settings,
    telemetry: Telemetry,
    public: Transport | None = None,
    lane: Lane | None = None,
) -> AsyncIterator[Context]:
    """What runs on a connection, real or simulated, from the return on to the end of the block."""
    if settings.tenant:
        connection = Tenant(connection, settings.tenant)
        public = Tenant(public, settings.tenant) if public else None
    is_own = settings.api_prefix == API_PREFIX
    publisher = Publisher(connection)
    direct_get = PartitionedDirectGet(connection, settings.split) if settings.split else DirectGet(connection)
    pace = StorePace(connection, direct_get) if lane else None
    group_commit = GroupCommit(publisher, lane or entity_lane, pace)
    context = Context(
        settings=settings,
        connection=connection,
        publisher=publisher,
        group_commit=group_commit,
        direct_get=direct_get,
        in_flight=InFlight(connection, settings.ack_wait_seconds),
        telemetry=telemetry,
        versions=Versions(connection, publisher, settings.unknown_seconds),
        outside=Outside(publisher, group_commit, direct_get, telemetry.publishing),
        requests=Requests(connection, telemetry),
        pools=Pools(settings),
        reader=EventReader(connection, direct_get, settings.split, Reach.STREAMS if is_own else Reach.ALL),
        blobs=ObjectBlobs(publisher, direct_get, telemetry.tracer),
        public=public,
    )
    await context.publisher.start()
    await context.direct_get.start()
    context.direct_get.fail_denied()
    try:
        yield context
    finally:
        context.requests.stop()
        context.pools.close()
        await context.publisher.close()
        context.direct_get.close()


async def _reach(connection: Connection, settings: Settings, name: str, waiting: OnWaiting) -> None:
    at = shown(settings.nats_url)

    def on_failure(reason: str) -> None:
        waiting(f"waiting for the broker at {at}: {reason}")

    try:
        await connection.open(
            settings.nats_url, name, within_seconds=settings.connect_seconds, on_failure=on_failure, connect_timeout=2
        )
    except TimeoutError:
        if why := connection.refusal:
            raise ConnectionError(f"no connection to {at}: {why}") from None
        raise ConnectionError(
            f"no NATS server answered at {at} within {settings.connect_seconds:g} s: is it running? "
            f"NATS_URL says where it is"
        ) from None


def _nothing(_reason: str) -> None:
    """Ignore the reason."""


def shown(urls: str) -> str:
    """The servers of `NATS_URL` without users and passwords."""
    return re.sub(r"//[^/@,]*@", "//", urls)


async def _close(connection: Connection) -> None:
    """Flush and close; a broker that is away is no error."""
    try:
        if connection.is_connected:
            await connection.flush(timeout=2)
    except Exception as error:
        log.debug("the last flush failed: %s", error)
    finally:
        with suppress(OSError, RuntimeError):  # uvloop's word for a transport that is closed already
            await connection.close()
