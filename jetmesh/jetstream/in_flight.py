"""Custody of deliveries: whoever takes one settles it once, and it is kept alive for as long as it is held."""

import asyncio
import json
import math
import time
from contextlib import suppress
from typing import TypeAlias

from jetmesh.failure import Unavailable
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.pull import Pull
from jetmesh.jetstream.transport import Transport

Place: TypeAlias = tuple[int, float]
"""A message of a stream: its sequence, and when it was stored, for another life of the stream has others there."""


class InFlight:
    """Every delivery that this process holds, waiting or running, with the pull whose slot it takes."""

    def __init__(self, connection: Transport, ack_wait_seconds: float) -> None:
        self._connection = connection
        self._ack_wait_seconds = ack_wait_seconds
        self._held: dict[str, tuple[Delivery, Pull, Place]] = {}
        self._places: dict[tuple[Pull, Place], str] = {}
        self.orphans: set[str] = set()
        """The replies of deliveries that are nobody's any more: nothing may be recorded because of one."""
        self.is_sure = True
        """Whether it is known which are; else nothing may be recorded at all."""
        self._certain = asyncio.Event()
        self._certain.set()
        self._from_before: set[str] = set()
        connection.on_reconnected(self._reassure)

    def __len__(self) -> int:
        return len(self._held)

    def take(self, delivery: Delivery, pull: Pull) -> bool:
        """The delivery has arrived; False if the message is in hand here already: it was delivered again to a process
        that had been stopped, or by a broker that had crashed. Whoever has it goes on, and its settling counts."""
        place = delivery.sequence, delivery.timestamp
        if known := self._places.get((pull, place)):
            self.orphans.discard(known)
            pull.release(delivery)
            return False
        self._places[pull, place] = delivery.reply
        self._held[delivery.reply] = delivery, pull, place
        return True

    def doubt(self) -> None:
        """Whether what is held is still to be handled is not known until `be_sure`."""
        self.is_sure = False
        self._certain.clear()

    def be_sure(self) -> None:
        """What is held and not disowned is still to be handled."""
        self.is_sure = True
        self._certain.set()

    async def certainty(self) -> None:
        """Return once it is known what is still to be handled."""
        await self._certain.wait()

    def disown(self, pull: Pull, before: float = math.inf) -> None:
        """The durable of a pull is gone. What it had delivered is settled with nobody, unless its successor delivers
        the same message again: said to that one about another message, it would settle what nobody has handled.
        What arrived after `before`, by the monotonic clock, came from the successor."""
        self.orphans |= {
            reply for reply, (delivery, of, _) in self._held.items() if of is pull and delivery.held_since < before
        }

    def ack(self, delivery: Delivery) -> None:
        """It is done. Lost acknowledgements do no harm: the delivery comes again and meets what it recorded."""
        self._settle(delivery, b"+ACK")

    def nak(self, delivery: Delivery, pause_seconds: float = 0.0) -> None:
        """Give it back, to be delivered again after a pause; it holds an ack-pending slot meanwhile."""
        delay = b" " + json.dumps({"delay": int(pause_seconds * 1e9)}).encode() if pause_seconds > 0 else b""
        self._settle(delivery, b"-NAK" + delay)

    def rest(self, delivery: Delivery, seconds: float) -> None:
        """Give it back for so long. Nothing behind it is due sooner: its pull asks for nothing meanwhile."""
        if held := self._held.get(delivery.reply):
            held[1].rest(seconds)
        self.nak(delivery, seconds)

    def in_progress(self) -> None:
        """Called by a ticker: whatever has been held for a third of the ack wait says that it is still worked on."""
        now = time.monotonic()
        self._from_before &= self._held.keys()
        for delivery, pull, _ in self._held.values():
            due = now - min(self._ack_wait_seconds, pull.hold_seconds) / 3
            if (delivery.held_since < due and delivery.progress_at < due) or delivery.reply in self._from_before:
                delivery.progress_at = now
                self._say(delivery, b"+WPI")

    def _reassure(self) -> None:
        """The broker was away: its ack wait may be nearly over, and it may have forgotten what is held and deliver it
        to somebody else, who gives it back for a moment. So it is told at once, and from then on at every tick."""
        self._from_before = set(self._held)
        self.in_progress()

    def oldest_seconds(self) -> dict[tuple[str, str], float]:
        """For how long the delivery that arrived first has been held, by stream and durable."""
        now = time.monotonic()
        found: dict[tuple[str, str], float] = {}
        for delivery, pull, _ in list(self._held.values()):
            found.setdefault((pull.stream, pull.durable), now - delivery.held_since)
        return found

    def _settle(self, delivery: Delivery, word: bytes) -> None:
        held = self._held.pop(delivery.reply, None)
        if held is not None:
            held_delivery, pull, place = held
            self._places.pop((pull, place), None)
            if delivery.reply in self.orphans:
                self.orphans.discard(delivery.reply)
            else:
                self._say(delivery, word)
            pull.release(held_delivery)

    def _say(self, delivery: Delivery, word: bytes) -> None:
        with suppress(Unavailable):  # the broker will deliver it again
            self._connection.send(delivery.reply, word)
