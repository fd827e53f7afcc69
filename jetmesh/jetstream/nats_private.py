"""The only module that uses private members of nats-py.

nats-py wakes a task to read, hands each message through a queue and another task, parses every header on the way, and
wakes a third task to write; here a callback gets the bytes as they arrive, and what is sent goes out when the loop
comes round. nats-py closes for good when the server reports an error, and stops reading, writing or pinging when one
of its tasks fails. Here neither ends the client: the server ends a connection that it does not want, and each lost
connection is made again. `PRIVATE` names the private members: a test compares it with the code, and with the nats-py
that is installed.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import ParseResult, unquote

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error

from jetmesh.common.throttled_log import Conditions, kind_of
from jetmesh.failure import BrokerUnavailable
from jetmesh.jetstream.identity import Identity
from jetmesh.jetstream.limits import HEADER_BYTES_MAX, SHORT_SUBJECT, ServerLimits
from jetmesh.jetstream.parser import MessageParser, Straight
from jetmesh.jetstream.transport import NOT_CONNECTED, OnFrame

log = logging.getLogger("jetmesh.connection")

RECONNECT_SECONDS = 0.25
REFUSED_SECONDS_MAX = 4.0
"""The longest pause of a client that is refused: all clients with a withdrawn key try again at the same time."""
LAST_WORDS_SECONDS = 0.005
FLUSH_SECONDS = 2

PRIVATE: Mapping[type, frozenset[str]] = {
    Client: frozenset(
        {
            "_attempt_reconnect",
            "_connect_command",
            "_err",
            "_error_cb",
            "_flush_queue",
            "_flusher",
            "_flusher_task",
            "_max_payload",
            "_nkeys_seed_str",
            "_parse_server_uri",
            "_pending",
            "_pending_data_size",
            "_ping_interval",
            "_ping_interval_task",
            "_pongs",
            "_process_connect_init",
            "_process_err",
            "_process_info",
            "_process_msg",
            "_process_op_err",
            "_process_pong",
            "_ps",
            "_read_loop",
            "_reading_task",
            "_reconnection_task",
            "_send_publish",
            "_server_info",
            "_setup_nkeys_connect",
            "_status",
            "_transport",
        }
    ),
    Subscription: frozenset({"_id"}),
    TcpTransport: frozenset({"_io_reader", "_io_writer"}),
}
"""The members of nats-py that are not public and that this module uses or overrides."""


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


class NatsClient(Client):
    """A nats-py client that reconnects for ever, and hands out what it receives without a queue."""

    def __init__(self, identity: Identity, conditions: Conditions) -> None:
        super().__init__()
        self._parser = MessageParser(self._ps, self._deliver, self._hand_on)
        self._ps = self._parser  # type: ignore[assignment]
        self.identity = identity
        self.conditions = conditions
        self._heard: dict[int, Subscription] = {}
        self._frames: dict[int, OnFrame] = {}
        self._said: Exception | None = None
        self._goes_out = False

    @property
    def last_error(self) -> Exception | None:
        """The error that ended the connection last, else the last one that the server reported."""
        return self._err or self._said

    @property
    def failure(self) -> Exception | None:
        """The error that ended the connection last."""
        return self._err

    @property
    def about_server(self) -> Mapping[str, Any]:
        """The server's INFO of the handshake; the peer may be no NATS server."""
        said: object = self._server_info
        return said if isinstance(said, dict) else {}

    @property
    def limits(self) -> ServerLimits:
        """What the server takes, as its INFO says."""
        return ServerLimits(self._max_payload)

    @property
    def peer_certificate(self) -> bytes:
        """The broker's certificate as DER; empty without TLS."""
        writer = getattr(self._transport, "_io_writer", None)
        tls = writer.get_extra_info("ssl_object") if writer else None
        return (tls.getpeercert(binary_form=True) or b"") if tls else b""

    @property
    def is_opened(self) -> bool:
        """Whether a connect was ever requested."""
        return self._flush_queue is not None

    @property
    def reconnecting(self) -> "asyncio.Task[Any] | None":
        """The task that connects again; its cancellation may be lost in `asyncio.wait_for` (before Python 3.12)."""
        return self._reconnection_task

    async def hear(self, subject: str, queue: str, frame: OnFrame) -> int:
        """Subscribe, with every message handed to `frame` inside the read loop; the id of the subscription."""
        subscription = await self.subscribe(subject, queue, cb=_unused)
        self._heard[subscription._id] = subscription
        self._frames[subscription._id] = frame
        return subscription._id

    async def ignore(self, number: int) -> None:
        """Unsubscribe, and return once everything that the broker sent before has gone to its frame. The broker may be
        away; it drops the pulls of an inbox without a subscription."""
        subscription = self._heard.pop(number, None)
        if subscription is not None:
            with suppress(Error, OSError):
                await subscription.unsubscribe()
                if self.is_connected:
                    await self.flush(timeout=FLUSH_SECONDS)
        self._frames.pop(number, None)

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Send one message, together with what else is sent until the event loop comes round.

        Raises:
            TooLarge: the server takes nothing so large, and would end the connection over it.
            Unavailable: while there is no connection. (A message buffered across a reconnect would arrive after its
                sender has given up on it.)
        """
        if self._status != Client.CONNECTED:
            raise BrokerUnavailable(NOT_CONNECTED, 0.25)
        headers_size = len(headers)
        size = headers_size + len(data)
        line = f"HPUB {subject} {reply} {headers_size} {size}\r\n" if headers else f"PUB {subject} {reply} {size}\r\n"
        command = b"".join((line.encode(), headers, data, b"\r\n"))
        length = len(command)
        if size > HEADER_BYTES_MAX or size > self._max_payload or length - size > SHORT_SUBJECT:
            self.limits.require(subject, headers_size, size - headers_size, reply)
        self._pending.append(command)
        self._pending_data_size += length
        if not self._goes_out:
            self._come_round()

    def _come_round(self) -> None:
        """Write what is pending then when the loop comes round."""
        if not self._goes_out:
            self._goes_out = True
            asyncio.get_running_loop().call_soon(self._write_out)

    def _write_out(self) -> None:
        """Write what is pending: nats-py wakes a task for it."""
        self._goes_out = False
        if self._pending and self._status == Client.CONNECTED and self._transport:
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0

    async def flush(self, timeout: int = FLUSH_SECONDS) -> None:  # noqa: ASYNC109
        """Wait until the server has everything that was sent: nats-py's PING would overtake what is pending."""
        self._write_out()
        await super().flush(timeout)

    async def _process_pong(self) -> None:
        """A PONG may answer a PING that nobody waits for any more: nats-py would take the connection for broken."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        """Apply the same limits to what nats-py sends itself."""
        headers_size = sum(len(f"{name}: {value}\r\n".encode()) for name, value in (headers or {}).items())
        self.limits.require(subject, headers_size + (12 if headers else 0), payload_size, reply)
        await super()._send_publish(subject, reply, payload, payload_size, headers)

    @staticmethod
    def _parse_server_uri(connect_url: str) -> ParseResult:
        """The address, with user and password as they are and not as a URL spells them (`%40` is an @)."""
        return _Address(*Client._parse_server_uri(connect_url))

    def _connect_command(self) -> bytes:
        """The CONNECT line. Where TLS was asked for, it is never sent in the clear, to whatever server."""
        if self.options.get("tls") and not self.about_server.get("tls_required"):
            raise Error("TLS is asked for, and this server does not speak it")
        return super()._connect_command()

    async def _process_connect_init(self) -> None:
        """Begin the connection, with the credentials that the files hold now."""
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
        """Read an error that follows INFO: a full server sends it and closes, and nats-py would miss it."""
        await super()._process_info(info, initial_connection)
        if initial_connection and self._transport:
            line = b""
            with suppress(TimeoutError):
                line = await asyncio.wait_for(self._transport.readline(), LAST_WORDS_SECONDS)
            if line:
                raise Error(f"nats: {line.removeprefix(b'-ERR ').decode(errors='replace').strip()}")

    def _renew(self) -> None:
        fresh = self.identity.options()
        if context := fresh.get("tls"):
            self.options["tls"] = context
        if seed := fresh.get("nkeys_seed_str"):
            self._nkeys_seed_str = seed
            self._setup_nkeys_connect()

    def _end_tasks(self) -> None:
        """End the tasks of a connection that was lost while it was made: they would read from the next one."""
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()

    async def _process_err(self, err_msg: str) -> None:
        """The server reports an error. After one that ends the connection it closes it, and the reader notices; any
        other concerns a request, and not the connection."""
        self._err = self._said = Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(self._err)

    async def _attempt_reconnect(self) -> None:
        """Try until it succeeds, also after an error that ends nats-py's own attempts."""
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
            except Exception as unexpected:
                self._err = unexpected
                words = f"reconnecting failed: {unexpected!r}; trying again"
                self.conditions.say(logging.ERROR, "unexpected", words)
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    async def _read_loop(self) -> None:
        if reader := getattr(self._transport, "_io_reader", None):
            Straight(reader, self._parser, self._come_round)
        await self._or_reconnect(super()._read_loop(), "reading")

    async def _flusher(self) -> None:
        await self._or_reconnect(super()._flusher(), "writing")

    async def _ping_interval(self) -> None:
        await self._or_reconnect(super()._ping_interval(), "pinging")

    async def _or_reconnect(self, loop: Coroutine[Any, Any, None], what: str) -> None:
        """Reconnect when one of the connection's tasks ends."""
        try:
            await loop
        except Exception:
            log.exception("%s of the connection to the broker failed", what)
        task = asyncio.current_task()
        if self.is_connected and not (task and task.cancelling()):
            await self._process_op_err(Error(f"{what} of the connection has ended"))

    def _deliver(self, sid: int, subject: str, reply: str, headers: bytes, data: bytes) -> bool:
        """Call the frame of the subscription, if there is one. An error is logged: it must not end the read loop."""
        frame = self._frames.get(sid)
        if frame is None:
            return False
        try:
            frame(subject, reply, headers, data)
        except Exception as error:
            self.conditions.log(
                kind_of(error), logging.ERROR, "a frame on %r could not be handled", subject[:200], error=error
            )
        return True

    async def _hand_on(self, sid: int, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        """A message without a frame is for nats-py: the answer to a request."""
        try:
            await self._process_msg(sid, subject.encode(), reply.encode(), data, headers)
        except Exception as error:
            self.conditions.log(
                kind_of(error), logging.ERROR, "a message on %r could not be handled", subject[:200], error=error
            )


async def _unused(message: Any) -> None:
    """nats-py demands a callback for each subscription; the messages of a frame never reach it."""
