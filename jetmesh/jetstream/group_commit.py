"""Group commit: events of many stories that wait for one stream are stored together.

A broker that syncs before it acknowledges (`sync_interval: always`) writes one message at a time, or one atomic batch
(ADR-50). With few messages under way each goes alone, and at once; messages that queue behind them go as a batch. None
is held back to fill a batch. Each message keeps the guard of its own story; if one guard fails, the whole batch is
refused and its members go alone. A broker that stores one message as quickly as a member of a batch (`store_pace.py`)
gets each alone.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.message import Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.store_pace import RUN, StorePace

ALONE_MAX = 16
"""Messages of one stream that may be under way on their own."""
BATCH_MIN = 32
"""So many must wait: a batch costs the broker 3 ms, and little for each of its members (measured)."""
BATCH_MAX = 512
BATCHES_MAX = 2
"""One is written while the next is collected: a longer wait makes the next one larger, and so cheaper per message."""
PACE_SECONDS = 1.0
"""How long the pace at which a stream is stored is not looked at again, where batches were faster."""

Lane: TypeAlias = Callable[[str], str]
Waiting = tuple[Message, "asyncio.Future[int | None]"]


@dataclass(slots=True)
class Group:
    """The messages on their way to one stream, and those that wait."""

    alone: int = 0
    batches: int = 0
    waiting: deque[Waiting] = field(default_factory=deque)
    is_quick: bool = False
    """Whether the broker stores each message alone as quickly as in a batch."""
    last: int = 0
    run: int = 0
    """So many stand in a row up to the sequence `last`, each recorded alone while others were under way."""
    looked_at: float = -PACE_SECONDS


def entity_lane(subject: str) -> str:
    """The lane if all events of an entity are in one stream: the entity's name."""
    return subject.partition(".")[0]


class GroupCommit:
    """Wraps a publisher: records each message alone or in a batch, whichever is faster.

    `lane` says which subjects may go into one batch: those of one stream. With a `pace` it names the stream.
    """

    def __init__(self, publisher: Publisher, lane: Lane = entity_lane, pace: StorePace | None = None) -> None:
        self._record, self._record_all, self._lane = publisher.record, publisher.record_all, lane
        self._pace = pace
        self._groups: dict[str, Group] = defaultdict(Group)
        self._tasks: set[asyncio.Task[Any]] = set()
        if pace:
            pace.connection.on_reconnected(self._forget)

    def _forget(self) -> None:
        """Another broker answers, or the same with other settings: find out again how quickly it stores."""
        for group in self._groups.values():
            group.is_quick, group.run, group.looked_at = False, 0, -PACE_SECONDS

    def record(self, message: Message) -> Coroutine[Any, Any, int]:
        """Store the message under its guard; returns its sequence. Raises the errors of `Publisher.record`."""
        lane = self._lane(message.subject)
        group = self._groups[lane]
        return self._record(message) if group.is_quick else self._in_turn(lane, group, message)

    async def _in_turn(self, lane: str, group: Group, message: Message) -> int:
        """Record it alone if few are under way, else with those that wait."""
        if group.alone < ALONE_MAX and not group.waiting:
            if not group.alone:
                group.run = 0
            group.alone += 1
        else:
            turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
            group.waiting.append((message, turn))
            self._go_on(group)
            sequence = await turn
            if sequence is not None:
                return sequence
        try:
            sequence = await self._record(message)
        finally:
            group.alone -= 1
            if group.waiting:
                self._go_on(group)
        if self._pace:
            self._note(self._pace, lane, group, sequence)
        return sequence

    def _note(self, pace: StorePace, stream: str, group: Group, sequence: int) -> None:
        """In a burst look at how quickly the messages up to this one were stored."""
        group.run = group.run + 1 if sequence == group.last + 1 else 1
        group.last = sequence
        if group.run < RUN or not group.batches:
            return
        now = time.monotonic()
        if now > group.looked_at + PACE_SECONDS:
            group.looked_at = now
            self._start(self._look(pace, stream, group))

    async def _look(self, pace: StorePace, stream: str, group: Group) -> None:
        group.is_quick = await pace.is_quick(stream, group.last)
        if group.is_quick:
            self._release(group, group.waiting)
            group.waiting.clear()

    def _go_on(self, group: Group) -> None:
        """Send a batch if enough messages wait for one, else single messages."""
        while group.waiting:
            if len(group.waiting) >= BATCH_MIN:
                if group.batches >= BATCHES_MAX:
                    return
                if batch := _taken(group.waiting):
                    group.batches += 1
                    self._start(self._together(group, batch))
            elif group.alone < ALONE_MAX:
                self._release(group, [group.waiting.popleft()])
            else:
                return

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _together(self, group: Group, batch: list[Waiting]) -> None:
        """Record a batch, then send the messages that wait."""
        try:
            await self._record_together(group, batch)
        finally:
            group.batches -= 1
            self._go_on(group)

    async def _record_together(self, group: Group, batch: list[Waiting]) -> None:
        """Record a batch; its sequences are contiguous. If a guard fails it is halved, so that few messages go alone;
        if the outcome is unknown, each message is checked alone."""
        try:
            last = await self._record_all([message for message, _ in batch])
        except Refused:
            if len(batch) < 2 * BATCH_MIN:
                self._release(group, batch)
                return
            middle = len(batch) // 2
            await self._record_together(group, batch[:middle])
            await self._record_together(group, batch[middle:])
        except (Unavailable, Permanent):
            self._release(group, batch)
        else:
            for sequence, (_, turn) in enumerate(batch, last - len(batch) + 1):
                if not turn.done():
                    turn.set_result(sequence)

    @staticmethod
    def _release(group: Group, waiting: Sequence[Waiting]) -> None:
        """Send them alone."""
        for _, turn in waiting:
            if not turn.done():
                group.alone += 1
                turn.set_result(None)


def _taken(waiting: deque[Waiting]) -> list[Waiting]:
    """The next batch, at most one message of a story: guards of one story do not see each other inside a batch."""
    batch: list[Waiting] = []
    left: list[Waiting] = []
    stories: set[str] = set()
    while waiting and len(batch) < BATCH_MAX:
        message, turn = each = waiting.popleft()
        if turn.done():
            continue
        story = message.guard.subject if message.guard else message.subject
        (left if story in stories else batch).append(each)
        stories.add(story)
    waiting.extendleft(reversed(left))
    return batch
