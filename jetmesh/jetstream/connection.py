"""One connection to the broker, with two shortcuts that the hot path needs: listening without a queue, sending raw.

nats-py hands each message through a queue and a task and parses every header on the way; here a callback gets the
bytes inside the read loop. The shortcuts lean on members of nats-py that are not public, so its version is pinned.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from urllib.parse import ParseResult, unquote

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from jetmesh.common.throttled_log import Conditions, kind_of
from jetmesh.failure import BrokerUnavailable, TooLarge, Unavailable
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.headers import decode_headers
from jetmesh.jetstream.parser import Splitter
from jetmesh.jetstream.transport import API, Frame

log = logging.getLogger("jetmesh.connection")

HEADER_BYTES_MAX = (1 << 16) - 1
"""What JetStream stores of headers (10097)."""
SUBJECT_BYTES_MAX = 4_000
"""Subject and reply together: the server ends the connection over a longer line than 4,096 bytes."""
SHORT_SUBJECT = 900
"""So many characters fit, whatever they are."""
RECONNECT_SECONDS = 0.25
REFUSED_SECONDS_MAX = 4.0
"""Who is refused asks more and more seldom: all that know a key that was withdrawn ask at once."""
SHORT_LIFE_SECONDS = 10.0
FORGIVEN_SECONDS = 60.0
CLOSE_SECONDS = 2.0
FLUSH_SECONDS = 2
LAST_WORDS_SECONDS = 0.005
NOT_CONNECTED = "not connected to the broker"


class Identity(Protocol):
    """How a client proves who it is (`jetmesh.jetstream.credentials`)."""

    def options(self) -> Mapping[str, Any]:
        """What nats-py is told: `nkeys_seed_str`, `tls`, `inbox_prefix`."""
        ...

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Why a broker that is there does not let it in; empty where it would."""
        ...


class Anybody:
    """A client that proves nothing, but for what stands in the address."""

    def options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def trouble(self, error: BaseException | None, server: Mapping[str, Any]) -> str:
        """Nothing is known."""
        return ""


class _Address(ParseResult):
    """A server's address whose user and password may hold what a URL must encode."""

    @property
    def username(self) -> str | None:
        name = super().username
        return unquote(name) if name else name

    @property
    def password(self) -> str | None:
        word = super().password
        return unquote(word) if word else word


class Connection(Client):
    """A nats-py client that reconnects for ever, finds a half-open connection in seconds, and reports denials.

    nats-py closes for good when the server names an error, and goes on without reading, writing or pinging when one of
    its tasks fails. Here the first is left to the server, which ends a connection that it does not want, and all of
    them lead to a new connection.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__()
        self._ps = Splitter(self, self._deliver)
        self.api_prefix = API
        self._identity = identity or Anybody()
        self._conditions = Conditions(log)
        self._tell: Callable[[str], None] = self._warn
        self._listening: dict[str, Subscription] = {}
        self._frames: dict[int, Frame] = {}
        self._reconnected: list[Callable[[], None]] = [self._end_pauses]
        self._denied: list[Callable[[str], None]] = []
        self.clock = BrokerClock()
        self._is_wanted = True
        self._short_lives = 0
        self._born = self._lost = time.monotonic()
        self._said: Exception | None = None
        self.closed = asyncio.Event()
        """Set when nothing will connect it again."""
        self._pausing: set[asyncio.Future[None]] = set()

    async def open(
        self, url: str, name: str, *, within_seconds: float | None = None, tell: Callable[[str], None] | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        """Connect, trying until a server lets this client in; `tell` gets the reason why none did so far.

        Raises:
            TimeoutError: none did within that time; `trouble` says why.
        """
        self._tell = tell or self._warn
        connecting = self.connect(
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
        await _finished(connecting, within_seconds)
        self._born = time.monotonic()
        self._tell = self._warn
        self._conditions.over()

    async def ended(self) -> str:
        """Return when nothing will connect it again: what it failed with."""
        await self.closed.wait()
        return str(self.last_error)

    async def hang_up(self) -> None:
        """Close for good, within seconds. nats-py can wait for ever for a transport that is gone, or go on reconnecting
        when its cancellation is lost in `asyncio.wait_for` (before Python 3.12)."""
        self._is_wanted = False
        if self._flush_queue is None:
            return  # it was never opened
        with suppress(TimeoutError):
            await asyncio.wait_for(self.close(), CLOSE_SECONDS)
        if self._reconnection_task is not None:
            await _cancelled(self._reconnection_task)

    @property
    def last_error(self) -> Exception | None:
        """What the connection failed with last, else what the server last named."""
        return self._err or self._said

    @property
    def refusal(self) -> str:
        """Why a broker that is there does not let this client in; empty where none is known to."""
        return self._identity.trouble(self._err, self.about_server)

    @property
    def trouble(self) -> str:
        """Why there is no connection; empty where there is one."""
        if self.is_connected:
            return ""
        return f"{NOT_CONNECTED}: {why}" if (why := self.refusal) else NOT_CONNECTED

    @property
    def short_lives(self) -> int:
        """How often in a row the connection was lost soon after it was made, as a server does to a slow consumer;
        one is forgiven for each minute that it lasts."""
        return max(0, self._short_lives - int((time.monotonic() - self._born) / FORGIVEN_SECONDS))

    @property
    def about_server(self) -> Mapping[str, Any]:
        """What the server said of itself when it was connected to (its INFO); what listens there may be no server."""
        said: object = self._server_info
        return said if isinstance(said, dict) else {}

    @property
    def server_host(self) -> str:
        """The host and port that it is connected to, without user and password."""
        url = self.connected_url
        return url.netloc.rpartition("@")[2] if url else ""

    @property
    def peer_certificate(self) -> bytes:
        """The broker's certificate as DER; empty without TLS."""
        writer = getattr(self._transport, "_io_writer", None)
        tls = writer.get_extra_info("ssl_object") if writer else None
        return (tls.getpeercert(binary_form=True) or b"") if tls else b""

    def api(self, call: str) -> str:
        """The subject of a call of the JetStream API (`STREAM.INFO.ORDERS`), where this process finds it: in another
        domain, or imported under a name of its own. Every such subject is made here."""
        return f"{self.api_prefix}.{call}"

    def on_reconnected(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every reconnection: pulls and unanswered publishes are gone by then."""
        self._reconnected.append(callback)

    async def pause(self, seconds: float) -> None:
        """Return after so long, or as soon as a lost connection is there again."""
        back = asyncio.get_running_loop().create_future()
        self._pausing.add(back)
        try:
            await asyncio.wait([back], timeout=seconds)
        finally:
            self._pausing.discard(back)

    def _end_pauses(self) -> None:
        for back in self._pausing:
            if not back.done():
                back.set_result(None)

    def on_denied(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the server's words whenever it denies this user a subject."""
        self._denied.append(callback)

    async def listen(self, subject: str, frame: Frame) -> None:
        """Subscribe, with every message handed to `frame` inside the read loop."""
        subscription = await self.subscribe(subject, cb=_unused)
        self._listening[subject] = subscription
        self._frames[subscription._id] = frame

    async def stop_listening(self, subject: str) -> None:
        """Unsubscribe, and return once everything that the broker sent before has gone to its frame; it may be away.
        The broker drops the pulls of an inbox that nobody listens to."""
        subscription = self._listening.pop(subject, None)
        if subscription is not None and self.is_connected:
            with suppress(Error, OSError):
                await subscription.unsubscribe()
                await self.flush(timeout=FLUSH_SECONDS)

    @asynccontextmanager
    async def answers(self, frame: Frame) -> AsyncIterator[str]:
        """An inbox whose messages go to `frame`, for as long as the block lasts."""
        inbox = self.new_inbox()
        subscription = await self.subscribe(inbox, cb=_unused)
        self._frames[subscription._id] = frame
        try:
            yield inbox
        finally:
            del self._frames[subscription._id]
            if self.is_connected:
                await subscription.unsubscribe()

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Queue one message for the next flush.

        Raises:
            TooLarge: the server takes nothing so large, and would end the connection over it.
            Unavailable: while there is no connection. (A message buffered across a reconnect would arrive after its
                sender has given up on it.)
        """
        if not self.is_connected:
            raise BrokerUnavailable("not connected to the broker", 0.25)
        headers_size = len(headers)
        size = headers_size + len(data)
        if size > HEADER_BYTES_MAX or size > self._max_payload or len(subject) > SHORT_SUBJECT:
            self.require_fitting(subject, headers_size, size - headers_size, reply)
        line = f"HPUB {subject} {reply} {headers_size} {size}\r\n" if headers else f"PUB {subject} {reply} {size}\r\n"
        command = b"".join((line.encode(), headers, data, b"\r\n"))
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    def require_fitting(self, subject: str, headers_size: int, data_size: int, reply: str = "") -> None:
        """The one place that knows what the server takes: `max_payload` of its INFO, and what is fixed.

        Raises:
            TooLarge: naming the size and the limit.
        """
        if headers_size + data_size > self._max_payload:
            size = f"{headers_size + data_size} bytes with headers"
            raise TooLarge(f"{subject[:200]}: {size} are more than the broker's max_payload of {self._max_payload}")
        if headers_size > HEADER_BYTES_MAX:
            size = f"{headers_size} bytes of headers"
            raise TooLarge(f"{subject[:200]}: {size} are more than the {HEADER_BYTES_MAX} that JetStream stores")
        if (
            len(subject) + len(reply) > SHORT_SUBJECT
            and len(subject.encode()) + len(reply.encode()) > SUBJECT_BYTES_MAX
        ):
            raise TooLarge(f"{subject[:200]}…: the subject is longer than the {SUBJECT_BYTES_MAX} bytes of a line")

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        """What nats-py sends by itself obeys the same limits."""
        headers_size = sum(len(f"{name}: {value}\r\n".encode()) for name, value in (headers or {}).items())
        self.require_fitting(subject, headers_size + (12 if headers else 0), payload_size, reply)
        await super()._send_publish(subject, reply, payload, payload_size, headers)

    async def ask(self, subject: str, data: bytes, timeout_seconds: float = 5.0, *, headers: bytes = b"") -> bytes:
        """One request and its answer, off the hot path.

        Raises:
            Unavailable: nobody answers, for instance because JetStream is not enabled for this account; or the request
                is more than the broker takes.
        """
        try:
            return (await self.request(subject, data, timeout=timeout_seconds, headers=decode_headers(headers))).data
        except TooLarge as too_large:
            raise Unavailable(str(too_large)) from None
        except NoRespondersError:
            raise Unavailable(f"nobody answers {subject}: {self._nobody}") from None
        except NatsTimeoutError:
            raise Unavailable(f"no answer to {subject} within {timeout_seconds:g} s") from None

    @property
    def _nobody(self) -> str:
        """Why nobody may answer."""
        words = "is JetStream enabled, for this account too"
        if self.api_prefix != API:
            words += ", and is it found there (JETMESH_NATS_DOMAIN, JETMESH_NATS_API_PREFIX)"
        return f"{words}?"

    @staticmethod
    def _parse_server_uri(connect_url: str) -> ParseResult:
        """The address, with user and password as they are and not as a URL spells them (`%40` is an @)."""
        return _Address(*Client._parse_server_uri(connect_url))

    def _connect_command(self) -> bytes:
        """Who this is; not in the clear where TLS was asked for, also when another server takes over."""
        if self.options.get("tls") and not self.about_server.get("tls_required"):
            raise Error("TLS is asked for, and this server does not speak it")
        return super()._connect_command()

    async def _process_connect_init(self) -> None:
        """Introduce this client to a server, with what it proves itself by as it is now."""
        self._end_tasks()
        self._renew()
        try:
            await super()._process_connect_init()
            if not self.is_connected:
                raise Error("the server did not confirm the connection")
        except Exception as refused:
            self.options["reconnect_time_wait"] = min(2 * self.options["reconnect_time_wait"], REFUSED_SECONDS_MAX)
            if self._transport:
                self._transport.close()  # type: ignore[no-untyped-call]
            if not isinstance(refused, OSError | Error | TimeoutError):  # what nats-py tries again after
                raise Error(f"{type(refused).__name__}: {refused}") from refused
            raise
        self.options["reconnect_time_wait"] = RECONNECT_SECONDS

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """A server that has no room says so right behind its INFO, and hangs up: nats-py would miss it."""
        await super()._process_info(info, initial_connection)
        if initial_connection and self._transport:
            line = b""
            with suppress(TimeoutError):
                line = await asyncio.wait_for(self._transport.readline(), LAST_WORDS_SECONDS)
            if line:
                raise Error(f"nats: {line.removeprefix(b'-ERR ').decode(errors='replace').strip()}")

    def _renew(self) -> None:
        fresh = self._identity.options()
        if context := fresh.get("tls"):
            self.options["tls"] = context
        if seed := fresh.get("nkeys_seed_str"):
            self._nkeys_seed_str = seed
            self._setup_nkeys_connect()

    def _end_tasks(self) -> None:
        """Those of a connection that was lost before it was whole: they would read from the next one."""
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()

    async def _process_err(self, err_msg: str) -> None:
        """The server names an error. Those after which it can't go on it follows by ending the connection, which is
        found out by reading; the others concern what was asked, and not the connection."""
        self._err = self._said = Error(f"nats: {err_msg.strip(chr(39))}")
        await self._on_error(self._err)

    async def _attempt_reconnect(self) -> None:
        """Try until it succeeds, also after an error that nats-py did not expect, and which would end its trying."""
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
            except Exception as unexpected:
                self._err = unexpected
                self._conditions.say(logging.ERROR, "unexpected", f"reconnecting failed: {unexpected!r}; trying again")
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    async def _read_loop(self) -> None:
        await self._or_reconnect(super()._read_loop(), "reading")

    async def _flusher(self) -> None:
        await self._or_reconnect(super()._flusher(), "writing")

    async def _ping_interval(self) -> None:
        await self._or_reconnect(super()._ping_interval(), "pinging")

    async def _or_reconnect(self, loop: Coroutine[Any, Any, None], what: str) -> None:
        """A connection without one of its tasks is none."""
        try:
            await loop
        except Exception:
            log.exception("%s of the connection to the broker failed", what)
        task = asyncio.current_task()
        if self.is_connected and not (task and task.cancelling()):
            await self._process_op_err(Error(f"{what} of the connection has ended"))

    def _deliver(self, sid: int, subject: str, reply: str, headers: bytes, data: bytes) -> bool:
        """To the frame of the subscription, if there is one. An error must not end the read loop, silently."""
        frame = self._frames.get(sid)
        if frame is None:
            return False
        try:
            frame(subject, reply, headers, data)
        except Exception as error:
            self._conditions.tell(
                kind_of(error), logging.ERROR, "a frame on %r could not be handled", subject[:200], error=error
            )
        return True

    async def _on_error(self, error: Exception) -> None:
        silent = "it takes the connection, and says nothing" if isinstance(error, TimeoutError) else ""
        text = str(error) or silent or type(error).__name__
        if "permissions violation" in text.lower():
            self._conditions.say(logging.ERROR, text, f"the broker denied this user a subject: {text}")
            for callback in self._denied:
                callback(text)
            return
        self._tell(self._identity.trouble(error, self.about_server) or text)

    def _warn(self, words: str) -> None:
        self._conditions.say(logging.WARNING, words, f"broker connection: {words}")

    async def _on_disconnected(self) -> None:
        self._lost = time.monotonic()
        if self._is_wanted:
            self._conditions.say(logging.WARNING, "lost", "the connection to the broker is lost; trying again")

    async def _on_reconnected(self) -> None:
        lives, was_short = self.short_lives, self._lost - self._born < SHORT_LIFE_SECONDS
        self._short_lives = lives + 1 if lives or was_short else 0
        self._born = time.monotonic()
        if self._short_lives < 2:
            self._conditions.over()
        self._conditions.say(logging.INFO, "again", "connected to the broker again")
        for callback in self._reconnected:
            try:
                callback()
            except Exception:
                log.exception("%s could not go on after the reconnection", callback)

    async def _on_closed(self) -> None:
        self.closed.set()


async def _finished(work: Coroutine[Any, Any, None], within_seconds: float | None) -> None:
    """Return when the work is done. It has ended when this is cancelled or the time is up, also where its cancellation
    is lost in `asyncio.wait_for` (before Python 3.12).

    Raises:
        TimeoutError: it was not done in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=within_seconds)
    finally:
        if not task.done():
            await _cancelled(task)
    if task.cancelled():
        raise TimeoutError
    task.result()


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


async def _unused(message: Any) -> None:
    """nats-py wants a callback for each subscription; `listen` never lets a message come this far."""
