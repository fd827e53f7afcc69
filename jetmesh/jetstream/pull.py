"""The pull loop of one durable consumer: demand equal to free slots, heartbeats watched, re-pull on reconnect.

What the server sends to the inbox of a pull is either a delivery, under its own subject, or a status, under the
inbox's: that tells them apart, since an event may carry a Status header of its own. (ADR-37 describes the pulls.)
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable

from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import Unavailable
from jetmesh.jetstream.consumer_config import Config, hold_seconds
from jetmesh.jetstream.delivery import RawDelivery, ack_facts
from jetmesh.jetstream.demand import Demand
from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.transport import Transport

log = logging.getLogger("jetmesh.pull")

EXPIRES_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
BYTES_MAX = 8 << 20
BATCH_MAX = 1 << 20
"""The limit where no operator has set one: more than there are slots."""
OPEN_MAX = 64
"""Requests of one process at a time: the server drops those beyond `max_waiting` (512) of all processes unanswered."""
HALVINGS_MAX = 8
OVER = frozenset({StatusKind.NOTHING, StatusKind.EXPIRED, StatusKind.BATCH_COMPLETED})
"""The statuses that end a pull which was served."""


class Pull:
    """Keeps up to `slots` deliveries of one consumer in flight, and as many more as its `demand` says: each that is
    released makes room for the next.

    They hold about `bytes_max` together, and twice as much at most; a larger message comes alone. A server that ends
    one connection after the other (a slow consumer: `max_pending`, `write_deadline`) is asked for half each time.
    `deliver` is called for each delivery, inside the read loop, and must not block. `shared`: see `RawDelivery`.
    """

    def __init__(  # noqa: PLR0913  (what a durable is, and what a process may hold of it)
        self,
        connection: Transport,
        stream: str,
        durable: str,
        slots: int,
        deliver: Callable[[RawDelivery], None],
        bytes_max: int = BYTES_MAX,
        *,
        shared: bool = False,
        demand: Demand | None = None,
    ) -> None:
        self.demand = demand or Demand(slots, None)
        self.stream, self.durable, self._shared = stream, durable, shared
        self._trouble = ""
        self._on_lost: list[Callable[[], None]] = []
        self.last_frame = time.monotonic()
        self._connection = connection
        self._deliver = deliver
        self._slots = slots
        self._bytes_max = self._own_bytes_max = bytes_max
        self._held = 0
        self._held_bytes = 0
        self._is_too_large = False
        self._asked: dict[str, int] = {}
        self._open = 0
        self._count = 0
        self._running = False
        self._is_suspended = False
        self._resting_until = 0.0
        self._inbox = connection.new_inbox()
        self._subscription = 0
        self._conditions = Conditions(log)
        self._next = connection.api(f"CONSUMER.MSG.NEXT.{stream}.{durable}")
        self._retry: asyncio.TimerHandle | None = None
        self.hold_seconds = math.inf
        self._batch_max = BATCH_MAX
        self._expires_seconds = EXPIRES_SECONDS

    def on_lost(self, call: Callable[[], None]) -> None:
        """Call back when the durable does not answer: when it does again, it may be a new one, of a new
        stream."""
        self._on_lost.append(call)

    def suspend(self) -> None:
        """Ask for nothing more until the durable is `found`."""
        self._is_suspended = True

    def found(self) -> None:
        """The durable is there, and it is known which one it is."""
        if self._is_suspended:
            self._is_suspended = False
            self._pull()

    @property
    def held(self) -> int:
        """Deliveries that are in this process and not released."""
        return self._held

    def obey(self, config: Config) -> None:
        """Keep to what the durable's configuration allows: an operator may have set how long a delivery is held, how
        many and how many bytes a request may ask for, and how long it may stay open. They may set it at any time."""
        self.hold_seconds = hold_seconds(config)
        self._batch_max = config.get("max_batch") or BATCH_MAX
        self._expires_seconds = min(EXPIRES_SECONDS, config.get("max_expires", math.inf) / 1e9)
        self._bytes_max = min(self._own_bytes_max, config.get("max_bytes") or self._own_bytes_max)

    @property
    def held_bytes(self) -> int:
        """The size of those deliveries."""
        return self._held_bytes

    @property
    def is_asking(self) -> bool:
        """Whether it asks for deliveries now; while it does not, nobody knows whether the broker would deliver."""
        return self._running and self._held < self._slots and time.monotonic() >= self._resting_until

    @property
    def trouble(self) -> str:
        """Why the broker delivers nothing to it; empty where it does, or is not asked to."""
        return self._trouble if self.is_asking else ""

    async def start(self) -> None:
        """Begin to pull."""
        self._subscription = await self._connection.listen(f"{self._inbox}.*", self._on_frame)
        self._connection.on_reconnected(self.restart)
        self.resume()

    def pause(self) -> None:
        """Ask for nothing more; what was asked for already may still arrive."""
        self._running = False

    async def stop(self) -> None:
        """Ask for nothing more, for good; what the broker has sent already has arrived when this returns."""
        self.pause()
        await self._connection.stop_listening(self._subscription)

    def resume(self, slots: int | None = None) -> None:
        """Pull (again), from now on with so many slots."""
        self._slots = slots or self._slots
        self._running = True
        self.last_frame = time.monotonic()
        self._pull()

    def fetch_one(self, slots: int) -> None:
        """Ask for one delivery, even while paused, if fewer than so many slots are taken and no request is open."""
        if not self._open and not self._is_suspended and self._held < slots:
            self._ask(1, self._bytes_max)

    def rest(self, seconds: float) -> None:
        """Ask for nothing more for a while: what comes next is not due before."""
        until = time.monotonic() + seconds
        if until < self._resting_until or self._resting_until < time.monotonic():
            self._resting_until = until
            asyncio.get_running_loop().call_later(seconds, self._rested, until)

    def _rested(self, until: float) -> None:
        """The pause is over, even if the loop's clock was some milliseconds early: there is no later wake-up."""
        if until == self._resting_until:
            self._resting_until = 0.0
        self._pull()

    def restart(self) -> None:
        """Forget what was asked for (the server has forgotten it too) and ask again."""
        self._asked.clear()
        self._open = 0
        self._trouble = ""
        self.last_frame = time.monotonic()
        self._pull()

    def release(self, delivery: RawDelivery) -> None:
        """A delivery is settled: its slot is free."""
        self._held -= 1
        self._held_bytes -= delivery.size
        slots, demand = self._slots, self.demand
        if demand.extra:
            slots += min(demand.extra, demand.storing)
        if 2 * (self._held + self._open) <= slots:
            if 4 * self._open < self._slots:
                demand.grow()
            self._pull()

    def check(self) -> None:
        """Ask again where a request is open and its heartbeats stopped; called from time to time."""
        if self._running and self._asked and time.monotonic() - self.last_frame > 2 * HEARTBEAT_SECONDS + 1:
            silent = 2 * HEARTBEAT_SECONDS
            self._conditions.log(
                "silent", logging.INFO, "no frame from %s/%s for %.0f s: pulling again",
                self.stream, self.durable, silent,
            )  # fmt: skip
            self.restart()

    def _pull(self) -> None:
        """Ask for the free slots, once half of them are free, and half of the bytes: neither a request per message nor
        an idle slot."""
        taken = self._held + self._open
        slots = self._slots + min(self.demand.storing, self.demand.extra)
        free = slots - taken
        if (
            not self._running
            or self._is_suspended
            or free <= 0
            or (taken > 0 and (free * 2 < slots or self._held_bytes * 2 > self._bytes_max))
            or time.monotonic() < self._resting_until
        ):
            return
        if self._is_too_large:
            self._ask(1)
            return
        bytes_max = self._bytes_max >> min(self._connection.short_lives, HALVINGS_MAX)
        while free > 0 and len(self._asked) < OPEN_MAX:
            batch = min(free, self._batch_max)
            if not self._ask(batch, max(bytes_max * batch // slots, 1)):
                return
            free -= batch

    def _ask(self, batch: int, bytes_max: int = 0) -> bool:
        """Ask for so many, and so many bytes; False while there is no connection."""
        self._count += 1
        token = str(self._count)
        heartbeat = min(HEARTBEAT_SECONDS, self._expires_seconds / 2)
        expires, beat = int(self._expires_seconds * 1e9), int(heartbeat * 1e9)
        demand = {"batch": batch, "max_bytes": bytes_max, "expires": expires, "idle_heartbeat": beat}
        try:
            self._connection.send(self._next, json.dumps(demand).encode(), reply=f"{self._inbox}.{token}")
        except Unavailable:
            return False  # restart() follows the reconnection
        self._asked[token] = batch
        self._open += batch
        return True

    def _on_frame(self, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        self.last_frame = time.monotonic()
        if subject.startswith(self._inbox):
            self._on_status(subject.rpartition(".")[2], headers)
            return
        self._trouble = ""
        asked = self._asked
        for token in asked:  # one less is to come, of the oldest pull: the server serves them in order
            self._open -= 1
            asked[token] -= 1
            if not asked[token]:
                del asked[token]
            break
        stream, _, delivered, sequence, _, time_ns, *_ = ack_facts(reply)
        delivery = RawDelivery(
            subject, headers, data, reply, stream, int(sequence), int(delivered), int(time_ns) / 1e9,
            shared=self._shared, held_since=self.last_frame,
        )  # fmt: skip
        self._held += 1
        self._held_bytes += delivery.size
        self._is_too_large = False
        self._deliver(delivery)

    def _on_status(self, token: str, headers: bytes) -> None:
        """A pull ended, can't be served now, or is just idle."""
        status = Status.of(headers) or Status(0, "")
        kind = status.kind
        if kind is StatusKind.IDLE:
            self._trouble = ""
            return
        self._open -= self._asked.pop(token, 0)
        if kind is StatusKind.MESSAGE_TOO_LARGE:
            self._is_too_large = not self._asked and self._held_bytes * 2 <= self._bytes_max
            self._pull()
            return
        if kind in OVER:
            self._trouble = ""
            self._pull()
            return
        self._trouble = "the consumer does not answer" if kind is StatusKind.NO_RESPONDERS else str(status)
        self._conditions.log(
            self._trouble, logging.INFO, "pull of %s/%s ended: %s", self.stream, self.durable, self._trouble
        )
        if kind in (StatusKind.NO_RESPONDERS, StatusKind.CONSUMER_DELETED):
            for call in self._on_lost:
                call()
        self._pull_later(1.0 if kind is StatusKind.NO_RESPONDERS else 0.25)

    def _pull_later(self, seconds: float) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(seconds, self._pull_again)

    def _pull_again(self) -> None:
        self._retry = None
        self._pull()
