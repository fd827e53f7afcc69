"""The Transport to a real broker: it has a nats-py client, and reports changes of the connection."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from jetmesh.common.tasks import cancelled, finished
from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import TooLarge, Unavailable
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.headers import decode_headers
from jetmesh.jetstream.identity import Anybody, Identity
from jetmesh.jetstream.lifetimes import Lifetimes
from jetmesh.jetstream.limits import ServerLimits
from jetmesh.jetstream.nats_private import RECONNECT_SECONDS, NatsClient
from jetmesh.jetstream.notices import Notices
from jetmesh.jetstream.transport import API, NOT_CONNECTED, OnFrame, Server

log = logging.getLogger("jetmesh.connection")

CLOSE_SECONDS = 2.0
FLUSH_SECONDS = 2


class Connection(Notices):
    """Reconnects for ever, detects a half-open connection within seconds, and reports denials."""

    def __init__(self, identity: Identity | None = None, api_prefix: str = API) -> None:
        super().__init__()
        self.api_prefix = api_prefix
        self.clock = BrokerClock()
        self._identity = identity or Anybody()
        self._conditions = Conditions(log)
        self._client = NatsClient(self._identity, self._conditions)
        self.send = self._client.send
        """See `Transport.send`."""
        self.new_inbox = self._client.new_inbox
        self._on_failure: Callable[[str], None] = self._warn
        self._lifetimes = Lifetimes()
        self._is_wanted = True
        self._closed = asyncio.Event()

    async def open(
        self, url: str, name: str, *, within_seconds: float | None = None,
        on_failure: Callable[[str], None] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        """Connect; try until a server accepts this client. `on_failure` gets the reason of each failure.

        Raises:
            TimeoutError: no server accepted it in that time; `refusal` says why.
        """
        self._on_failure = on_failure or self._warn
        connecting = self._client.connect(
            [server.strip() for server in url.split(",") if server.strip()],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type]
            ping_interval=5,
            max_outstanding_pings=2,
            skip_subject_validation=True,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            **self._identity.options(),
            **options,
        )
        await finished(connecting, within_seconds)
        self._lifetimes.begin()
        self._on_failure = self._warn
        self._conditions.over()

    async def close(self) -> None:
        """Close for good, within seconds. nats-py can wait for ever for a transport that is gone, or go on reconnecting
        when its cancellation is lost in `asyncio.wait_for` (before Python 3.12)."""
        self._is_wanted = False
        if not self._client.is_opened:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._client.close(), CLOSE_SECONDS)
        if self._client.reconnecting is not None:
            await cancelled(self._client.reconnecting)

    async def ended(self) -> str:
        """Wait until it is closed for good; the error that ended it."""
        await self._closed.wait()
        return str(self.last_error)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client.is_connected

    @property
    def last_error(self) -> Exception | None:
        """The last error of the connection, else the last error that the server sent."""
        return self._client.last_error

    @property
    def refusal(self) -> str:
        """Why a broker refuses this client; empty if none does."""
        return self._identity.trouble(self._client.failure, self._client.about_server)

    @property
    def trouble(self) -> str:
        """Why there is no connection; empty if there is one."""
        if self.is_connected:
            return ""
        return f"{NOT_CONNECTED}: {why}" if (why := self.refusal) else NOT_CONNECTED

    @property
    def short_lives(self) -> int:
        """How often in a row the connection was lost soon after it was made, as a server does to a slow consumer."""
        return self._lifetimes.short

    @property
    def limits(self) -> ServerLimits:
        """The server's limits."""
        return self._client.limits

    @property
    def server(self) -> Server:
        """The server that it is, or was last, connected to."""
        url, client = self._client.connected_url, self._client
        host = url.netloc.rpartition("@")[2] if url else ""
        return Server(client.about_server, host, client.peer_certificate)

    def api(self, call: str) -> str:
        """The subject of a call of the JetStream API (`STREAM.INFO.ORDERS`), where this process finds it: in another
        domain, or imported under a name of its own. Every such subject is made here."""
        return f"{self.api_prefix}.{call}"

    async def listen(self, subject: str, frame: OnFrame, queue: str = "") -> int:
        """Subscribe; `frame` is called with every message inside the read loop."""
        return await self._client.hear(subject, queue, frame)

    async def stop_listening(self, subscription: int) -> None:
        """Unsubscribe, and return once all messages that the broker sent before were passed to the frame. The broker
        may be away; it drops the pulls of an inbox without a subscription."""
        await self._client.ignore(subscription)

    async def flush(self, timeout: int = FLUSH_SECONDS) -> None:  # noqa: ASYNC109
        """Wait until the server has everything that was sent."""
        await self._client.flush(timeout)

    async def ask(self, subject: str, data: bytes, timeout_seconds: float = 5.0, *, headers: bytes = b"") -> bytes:
        """One request and its answer, off the hot path.

        Raises:
            Unavailable: there is no answer, for instance because JetStream is not enabled for this account; or the
                request is larger than the broker accepts.
        """
        try:
            reply = await self._client.request(subject, data, timeout_seconds, headers=decode_headers(headers))
        except TooLarge as too_large:
            raise Unavailable(str(too_large)) from None
        except NoRespondersError:
            raise Unavailable(f"nobody answers {subject}: {self._nobody}") from None
        except ConnectionClosedError:
            raise Unavailable(f"no answer to {subject}: the connection to the broker is closed for good") from None
        except NatsTimeoutError:
            raise Unavailable(f"no answer to {subject} within {timeout_seconds:g} s") from None
        return reply.data

    @property
    def _nobody(self) -> str:
        """Possible reasons for a missing responder."""
        words = "is JetStream enabled, for this account too"
        if self.api_prefix != API:
            words += ", and is it found there (JETMESH_NATS_DOMAIN, JETMESH_NATS_API_PREFIX)"
        return f"{words}?"

    async def _on_error(self, error: Exception) -> None:
        silent = "it accepts the connection, and sends nothing" if isinstance(error, TimeoutError) else ""
        text = str(error) or silent or type(error).__name__
        if "permissions violation" in text.lower():
            self._conditions.say(logging.ERROR, text, f"the broker denied this user a subject: {text}")
            self.denied(text)
            return
        self._on_failure(self._identity.trouble(error, self._client.about_server) or text)

    def _warn(self, words: str) -> None:
        self._conditions.say(logging.WARNING, words, f"broker connection: {words}")

    async def _on_disconnected(self) -> None:
        self._lifetimes.end()
        if self._is_wanted:
            self._conditions.say(logging.WARNING, "lost", "the connection to the broker is lost; trying again")

    async def _on_reconnected(self) -> None:
        self._lifetimes.begin_again()
        if self.short_lives < 2:
            self._conditions.over()
        self._conditions.say(logging.INFO, "again", "connected to the broker again")
        self.reconnected()

    async def _on_closed(self) -> None:
        self._closed.set()
