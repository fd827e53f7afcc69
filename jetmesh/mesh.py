"""A service's place in the mesh: the connection and what stands on it. Its wiring gets it, and so its adapters."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from jetmesh import tls
from jetmesh.connection import Connection
from jetmesh.custody import Custody
from jetmesh.partitions import PartitionedReader
from jetmesh.record import Recorder
from jetmesh.settings import Settings, SettingsError
from jetmesh.story import KnownStories, StoryReader
from jetmesh.telemetry import Telemetry
from jetmesh.versions import Versions

log = logging.getLogger("jetmesh")

Endpoint = Callable[[bytes], Awaitable[bytes]]


@dataclass(slots=True)
class Mesh:
    """What runs on one connection. Everything in it lives from `connect` to the end of its block."""

    settings: Settings
    connection: Connection
    recorder: Recorder
    stories: StoryReader
    custody: Custody
    telemetry: Telemetry
    known: KnownStories = field(default_factory=KnownStories)
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a delivery has its last chance (`jetmesh.trial`)."""
    public: Connection | None = None
    """The connection that answers `nats micro`; None: the same."""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    versions: Versions = field(init=False)

    def __post_init__(self) -> None:
        self.versions = Versions(self.connection, self.recorder, self.custody, self.settings.unknown_seconds)

    def endpoint(self, name: str, answer: Endpoint) -> None:
        """Answer requests to `name` of this service (NATS micro, ADR-32)."""
        self.endpoints[name] = answer

    def run(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run `task` beside the reactions, for instance an HTTP server; cancelled when the service stops."""
        self.background.append(task)


@asynccontextmanager
async def connect(settings: Settings, telemetry: Telemetry, name: str) -> AsyncIterator[Mesh]:
    """Connect to the broker, retrying for `connect_seconds`.

    Raises:
        ConnectionError: no server answered; the text names the address and what to try.
    """
    connection = Connection()
    await _reach(connection, settings, name)
    connection.api_prefix = settings.api_prefix
    telemetry.trusts_outside = settings.trust_traces
    public: Connection | None = None
    if settings.nats_micro_nkey_seed:
        public = Connection()
        await _reach(public, settings, f"{name}-micro", settings.nats_micro_nkey_seed)
    mesh = Mesh(
        settings=settings,
        connection=connection,
        recorder=Recorder(connection),
        stories=PartitionedReader(connection, settings.split) if settings.split else StoryReader(connection),
        custody=Custody(connection, settings.ack_wait_seconds),
        telemetry=telemetry,
        public=public,
    )
    await mesh.recorder.start()
    await mesh.stories.start()
    try:
        yield mesh
    finally:
        await mesh.recorder.close()
        await mesh.stories.close()
        await _close(connection)
        if public:
            await _close(public)


def endpoint_subject(service: str, name: str) -> str:
    """The subject of an endpoint of a service: apart from those that the intake reads."""
    return f"jetmesh.{service}.{name}"


def connect_options(settings: Settings, seed_file: str = "") -> Mapping[str, object]:
    """How this process proves who it is, and how it knows the server.

    Raises:
        SettingsError: a file that a setting names can't be read, or does not hold what it must.
    """
    options: dict[str, object] = {"inbox_prefix": settings.nats_inbox_prefix}
    if seed_file := seed_file or settings.nats_nkey_seed:
        try:
            options["nkeys_seed_str"] = Path(seed_file).read_text().strip()
        except OSError as unreadable:
            raise SettingsError(f"settings: JETMESH_NATS_NKEY_SEED: {unreadable}") from None
    if context := tls.context(settings):
        options["tls"] = context
    return options


async def _reach(connection: Connection, settings: Settings, name: str, seed_file: str = "") -> None:
    options = connect_options(settings, seed_file)
    attempt = connection.open(settings.nats_url, name, connect_timeout=2, **options)
    try:
        await asyncio.wait_for(attempt, settings.connect_seconds)
    except TimeoutError:
        if why := tls.trouble(connection.last_error, connection.about_server, settings):
            raise ConnectionError(f"no connection to {shown(settings.nats_url)}: {why}") from None
        raise ConnectionError(
            f"no NATS server answered at {shown(settings.nats_url)} within {settings.connect_seconds:g} s: "
            f"is it running? NATS_URL says where it is"
        ) from None


def shown(urls: str) -> str:
    """The servers of `NATS_URL` as they may be seen, without users and passwords."""
    return re.sub(r"//[^/@,]*@", "//", urls)


async def _close(connection: Connection) -> None:
    """Say what is left to be said, and hang up; a broker that is away is no reason to fail."""
    try:
        if connection.is_connected:
            await connection.flush(timeout=2)
    except Exception as error:
        log.debug("the last flush failed: %s", error)
    finally:
        with suppress(OSError, RuntimeError):  # uvloop's word for a transport that is closed already
            await connection.hang_up()
