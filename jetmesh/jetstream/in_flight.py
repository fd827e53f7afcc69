"""Deliveries in flight: each is settled once, and reported in progress until then."""

import asyncio
import json
import math
import time
from typing import TypeAlias

from jetmesh.failure import Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.pull import Pull
from jetmesh.jetstream.transport import Transport

TimedSequence: TypeAlias = tuple[int, float]
"""A message of a stream: its sequence, and its time, because a stream that is created again reuses sequences."""


class InFlight:
    """Every delivery that this process holds, waiting or running, with the pull whose slot it takes."""

    def __init__(self, connection: Transport, ack_wait_seconds: float) -> None:
        self._connection = connection
        self._ack_wait_seconds = ack_wait_seconds
        self._held: dict[str, tuple[RawDelivery, Pull, TimedSequence]] = {}
        self._positions: dict[tuple[Pull, TimedSequence], str] = {}
        self.orphans: set[str] = set()
        """Replies of deliveries whose durable is gone: nothing may be recorded because of one."""
        self.is_sure = True
        """Whether these are known; if not, nothing may be recorded at all."""
        self._certain = asyncio.Event()
        self._certain.set()
        self._from_before: set[str] = set()
        connection.on_reconnected(self._reassure)

    def __len__(self) -> int:
        return len(self._held)

    def take(self, delivery: RawDelivery, pull: Pull) -> bool:
        """Take a delivery that arrived; False if its message is in flight here already, after a pause of the process or
        a crash of the broker. The first copy keeps running, and its ack settles both."""
        position = delivery.sequence, delivery.timestamp
        if known := self._positions.get((pull, position)):
            self.orphans.discard(known)
            pull.release(delivery)
            return False
        self._positions[pull, position] = delivery.reply
        self._held[delivery.reply] = delivery, pull, position
        return True

    def doubt(self) -> None:
        """Until `be_sure` it is unknown which deliveries are still to be handled."""
        self.is_sure = False
        self._certain.clear()

    def be_sure(self) -> None:
        """All deliveries that are not disowned are still to be handled."""
        self.is_sure = True
        self._certain.set()

    async def certainty(self) -> None:
        """Wait until it is known which deliveries are still to be handled."""
        await self._certain.wait()

    async def is_disowned(self, delivery: RawDelivery) -> bool:
        """Whether a delivery is not to be handled any more; waits until that is known."""
        await self._certain.wait()
        return delivery.reply in self.orphans

    def disown(self, pull: Pull, before: float = math.inf) -> None:
        """The durable of a pull is gone: its deliveries are not acknowledged any more. An ack that reaches the new
        durable could settle another message. Deliveries that arrived after `before` (monotonic clock) are the new
        durable's."""
        self.orphans |= {
            reply for reply, (delivery, of, _) in self._held.items() if of is pull and delivery.held_since < before
        }

    def ack(self, delivery: RawDelivery) -> None:
        """Acknowledge. A lost ack does no harm: the delivery comes again and is settled by its recorded outcome."""
        self._settle(delivery, b"+ACK")

    def nak(self, delivery: RawDelivery, pause_seconds: float = 0.0) -> None:
        """Give it back, to be delivered again after a pause; it holds an ack-pending slot meanwhile."""
        delay = b" " + json.dumps({"delay": int(pause_seconds * 1e9)}).encode() if pause_seconds > 0 else b""
        self._settle(delivery, b"-NAK" + delay)

    def rest(self, delivery: RawDelivery, seconds: float) -> None:
        """Give it back for so long, and let its pull rest: no delivery behind it is due sooner."""
        if held := self._held.get(delivery.reply):
            held[1].rest(seconds)
        self.nak(delivery, seconds)

    def in_progress(self) -> None:
        """Report deliveries in progress that have been in flight for a third of the ack wait; called by a ticker."""
        now = time.monotonic()
        self._from_before &= self._held.keys()
        for delivery, pull, _ in self._held.values():
            due = now - min(self._ack_wait_seconds, pull.hold_seconds) / 3
            if (delivery.held_since < due and delivery.progress_at < due) or delivery.reply in self._from_before:
                delivery.progress_at = now
                self._say(delivery, b"+WPI")

    def _reassure(self) -> None:
        """After a reconnection report every delivery in progress at once: the ack wait may be nearly over, and a broker
        that crashed may have delivered the message to another process, which gives it back for a moment."""
        self._from_before = set(self._held)
        self.in_progress()

    def oldest_seconds(self) -> dict[tuple[str, str], float]:
        """The age of the oldest delivery, by stream and durable."""
        now = time.monotonic()
        found: dict[tuple[str, str], float] = {}
        for delivery, pull, _ in list(self._held.values()):
            found.setdefault((pull.stream, pull.durable), now - delivery.held_since)
        return found

    def _settle(self, delivery: RawDelivery, word: bytes) -> None:
        held = self._held.pop(delivery.reply, None)
        if held is not None:
            held_delivery, pull, position = held
            self._positions.pop((pull, position), None)
            if delivery.reply in self.orphans:
                self.orphans.discard(delivery.reply)
            else:
                self._say(delivery, word)
            pull.release(held_delivery)

    def _say(self, delivery: RawDelivery, word: bytes) -> None:
        try:  # noqa: SIM105  (`suppress` costs three calls for each delivery)
            self._connection.send(delivery.reply, word)
        except Unavailable:
            pass  # the broker will deliver it again
