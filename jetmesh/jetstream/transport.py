"""What the runtime needs of a connection to the broker, real or simulated."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.limits import ServerLimits

OnFrame = Callable[[str, str, bytes, bytes], None]
"""Called with subject, reply, raw header block and body; must not block and must not raise."""

API = "$JS.API"
"""Where the JetStream API is found, if nothing else is said."""
NOT_CONNECTED = "not connected to the broker"


class Server(NamedTuple):
    """One server, as a client sees it."""

    info: Mapping[str, Any]
    """What it said of itself when it was connected to (its INFO); what listens there may be no server."""
    host: str = ""
    """The host and port, without user and password."""
    certificate: bytes = b""
    """Its certificate as DER; empty without TLS."""


class Transport(Protocol):
    """One connection to a broker, which comes back by itself after it was lost."""

    clock: BrokerClock

    @property
    def trouble(self) -> str:
        """Why there is no connection; empty where there is one."""
        ...

    @property
    def short_lives(self) -> int:
        """How often in a row the connection was lost soon after it was made."""
        ...

    @property
    def limits(self) -> ServerLimits:
        """What the server takes."""
        ...

    @property
    def server(self) -> Server:
        """What it is, or was last, connected to."""
        ...

    def api(self, call: str) -> str:
        """The subject of a call of the JetStream API (`STREAM.INFO.ORDERS`)."""
        ...

    def new_inbox(self) -> str:
        """A subject of its own, for answers."""
        ...

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Send one message; it may be lost.

        Raises:
            TooLarge: the server takes nothing so large.
            Unavailable: while there is no connection.
        """
        ...

    async def ask(self, subject: str, data: bytes, timeout_seconds: float = 5.0, *, headers: bytes = b"") -> bytes:
        """One request and its answer.

        Raises:
            Unavailable: there is no answer in time, or the request is larger than the server accepts.
        """
        ...

    async def listen(self, subject: str, frame: OnFrame, queue: str = "") -> int:
        """Subscribe, also after every reconnection; every message goes to `frame`. The number of the subscription."""
        ...

    async def stop_listening(self, subscription: int) -> None:
        """Unsubscribe, and return once everything that the server sent before has gone to its frame."""
        ...

    async def flush(self, timeout: int = ...) -> None:  # noqa: ASYNC109
        """Return when the server has what was sent."""
        ...

    def on_reconnected(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every reconnection: pulls and unanswered publishes are gone by then."""
        ...

    def on_denied(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the server's words whenever it denies this user a subject."""
        ...

    async def pause(self, seconds: float) -> None:
        """Return after so long, or as soon as a lost connection is there again."""
        ...

    async def ended(self) -> str:
        """Return when nothing will connect it again: what it failed with."""
        ...


def beside_api(transport: Transport, subject: str) -> str:
    """A subject that is found where the JetStream API is: with its prefix, if that is another than the usual one."""
    return subject if transport.api("") == f"{API}." else transport.api(subject)


@asynccontextmanager
async def answer_inbox(transport: Transport, frame: OnFrame) -> AsyncIterator[str]:
    """An inbox whose messages go to `frame`, for as long as the block lasts."""
    inbox = transport.new_inbox()
    subscription = await transport.listen(inbox, frame)
    try:
        yield inbox
    finally:
        await transport.stop_listening(subscription)
