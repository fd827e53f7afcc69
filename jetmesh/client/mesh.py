"""A connection to the mesh for a program that is no service: a script, a job, a web application.

It runs no reaction and needs no app: the classes of the events, from their owner's contracts, say where they go. Spans
are made by the program's own OpenTelemetry; this package sets up none.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from os import PathLike, fspath

from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider

from jetmesh.blob import Blobs
from jetmesh.event import Event, EventType, Recorded, publisher_of
from jetmesh.failure import BrokerUnavailable, Denied
from jetmesh.request_model import AnyRequest, Response
from jetmesh.runtime import context
from jetmesh.runtime.context import Context
from jetmesh.runtime.publish import Outside
from jetmesh.runtime.publish_result import PublishResult
from jetmesh.runtime.reader import EventReader, Reach, RecordedPage
from jetmesh.settings import Settings, environment, read, variable
from jetmesh.telemetry.spans import SCOPE, Telemetry
from jetmesh.topology.accounts import API_PREFIX, inbox_of

URL, SEED, INBOXES = (variable(Settings, name) for name in ("nats_url", "nats_nkey_seed", "nats_inbox_prefix"))


class Mesh:
    """What a program outside of the mesh does with it, from `connect` to the end of its block."""

    def __init__(self, on: Context, name: str) -> None:
        self.context = on
        """What it stands on: `jetmesh.sql` publishes over it."""
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self._requests = on.requests
        reach = Reach.NEWEST if on.settings.api_prefix == API_PREFIX else Reach.ALL
        self._reader = EventReader(on.connection, on.direct_get, on.settings.split, reach)
        self.blobs: Blobs = on.blobs
        """Stores objects for events that it publishes, and reads those that the user may read."""
        self._outside = Outside(on.publisher, on.group_commit, on.direct_get, on.telemetry.publishing, f"/{name}")

    async def publish(self, event: Event, *, wait_seconds: float = 0.0) -> PublishResult:
        """Publish an event that is declared `from_outside`, for its owner to check and record. The current span becomes
        its parent. With `wait_seconds` it waits so long for the owner's decision; the user must be allowed to read the
        owner's stream and the dead letters.

        Raises:
            Unavailable: the broker does not take it now; asking again is safe.
            TypeError: it is no event, or none that is declared `from_outside`.
            Permanent: it breaks its contract, or is too large.
            PermissionError: this user may not publish it.
            RuntimeError: the mesh is closed, or belongs to another event loop.
        """
        self._require_here()
        try:
            return await self._outside.publish(event, wait_seconds)
        except Denied:
            kind = publisher_of(type(event))
            raise PermissionError(
                f"this user may not publish {type(event).type}: its contract lets users of the kind `{kind}` do so; "
                f"{SEED} names the file with the seed of one (`{kind}`, or `{kind}-<name>`)"
            ) from None

    async def request(self, request: AnyRequest[Response], *, timeout_seconds: float = 5.0) -> Response:
        """Ask the service that answers a request; its response. The current span becomes the parent.

        Raises:
            Problem: what the endpoint says is wrong.
            Unavailable: nobody answers now; asking again is safe.
            PermissionError: this user may not ask it.
            RuntimeError: the mesh is closed, or belongs to another event loop.
        """
        self._require_here()
        try:
            return await self._requests.request(request, timeout_seconds)
        except Denied as denied:
            raise PermissionError(f"this user may not ask {request.type}: {denied}") from None

    async def read(self, key: str, event_type: EventType, *, after: int = 0, limit: int = 100) -> RecordedPage:
        """A page of the events of a type that were recorded about a key, as `Context.read` has it. A user with an
        account of its own reads the newest one, of the types that it declares as `follows`.

        Raises:
            Unavailable: the stream does not answer, or there is none.
            PermissionError: this user may not read it; the text has the file to declare it in.
            RuntimeError: the mesh is closed, or belongs to another event loop.
        """
        self._require_here()
        return await self._reader.read(key, event_type, after, limit)

    def follow(self, key: str, *types: EventType, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """The events of these types about a key behind a position, and then those that come, as `Context.follow` has
        it. A user with an account of its own follows the types that it declares as `follows`: milestones, and the
        newest of each state.

        Raises:
            Unavailable: it can't begin: the broker is away, or there is no such stream.
            PermissionError: this user may not read one of them; the text has the file to declare it in.
            TypeError: the types have no owner in common.
            RuntimeError: the mesh is closed, or belongs to another event loop.
        """
        self._require_here()
        return self._reader.follow(types, key, after)

    def closed(self) -> None:
        """Its block has ended."""
        self._loop = None

    def _require_here(self) -> None:
        """Check that the connection can be used here; on another loop an answer would never come.

        Raises:
            RuntimeError: it can't.
        """
        if self._loop is None:
            raise RuntimeError("this mesh is closed: use it inside its block, `async with jetmesh.connect() as mesh`")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "this mesh belongs to another event loop: connect on this one, or use `jetmesh.connect_sync`, which "
                "any thread may use"
            )


@asynccontextmanager
async def connect(
    url: str = "", *, nkey_seed: str | PathLike[str] = "", name: str = "jetmesh-client"
) -> AsyncIterator[Mesh]:
    """Connect to a mesh from a program that is no service. What no argument says is a setting of the environment.

    `url` is NATS_URL, `nkey_seed` the file of JETMESH_NATS_NKEY_SEED; `name` is what the broker and the headers of the
    events call this program.

    Raises:
        Unavailable: no broker let us in within JETMESH_CONNECT_SECONDS; the text says why.
        PermissionError: this user may not listen for answers.
        SettingsError: a setting is wrong.
    """
    given = {URL: url, SEED: fspath(nkey_seed)}
    settings = read(Settings, environment() | {setting: value for setting, value in given.items() if value})
    telemetry = Telemetry(name, trace.get_tracer_provider(), NoOpMeterProvider().get_meter(SCOPE), _nothing)
    async with AsyncExitStack() as stack:
        try:
            on = await stack.enter_async_context(context.connect(settings, telemetry, name))
        except ConnectionError as away:
            raise BrokerUnavailable(str(away), 1.0) from None
        await _check_inbox(on)
        mesh = Mesh(on, name)
        stack.callback(mesh.closed)
        yield mesh


async def _check_inbox(on: Context) -> None:
    """A user that may not listen on its inboxes would wait in vain for every answer.

    Raises:
        PermissionError: it may not.
    """
    denied: list[str] = []
    on.connection.on_denied(denied.append)
    await on.connection.flush()
    if any("subscription" in text for text in denied):
        prefix = on.settings.nats_inbox_prefix
        raise PermissionError(
            f"this user may not listen on {prefix}.>: {INBOXES} must be what its account allows, for instance "
            f"{inbox_of('client')} for the user `client`"
        )


def _nothing() -> None:
    """There is nothing to shut down: the providers are the program's."""
