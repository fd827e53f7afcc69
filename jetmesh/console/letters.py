"""The dead letters in the console's memory, some thirty bytes each, so that a group of a hundred thousand opens at
once; and where in the log of operators which entry stands.

The stream is read when somebody looks: the first time all of it, in the background, and then what came since. What is
read already is shown meanwhile.
"""

import asyncio
import time
from array import array
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from jetmesh.console.batches import Batches
from jetmesh.console.link import Link
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import DirectGet, Stored, reading
from jetmesh.operate.dead_letters import PAGE_BYTES_MAX, DeadLetter, letter_of
from jetmesh.operate.operator_log import EDITED, REMOVED, REPLAYED, entry_of
from jetmesh.topology.names import DEAD_LETTERS, DEAD_SUBJECTS

PAGE = 250
LETTER = DEAD_SUBJECTS.partition(".")[0]
BARS = 24
"""The columns of a group's trend."""
PATIENCE_SECONDS = 0.3
"""So long a page waits for what is still to be read."""
SENT = (REPLAYED, EDITED)
"""The actions by which a reaction gets a message again."""
RECENT = 10_000
"""So many of the newest letters are remembered by their message: the entry about a replay may come after the letter
that the replay became."""


@dataclass(frozen=True, slots=True)
class LetterKind:
    """What the letters of a group have in common: the reaction, the error without ids, and where it was raised."""

    reaction: str
    kind: str
    frame: str

    def said(self, *, sees: bool) -> str:
        """The error; without its text for those who see no bodies."""
        return self.kind if sees else self.kind.partition(":")[0]

    @property
    def id(self) -> str:
        """A short name of it, for addresses."""
        return sha256("\0".join((self.reaction, self.kind, self.frame)).encode()).hexdigest()[:16]


@dataclass(slots=True)
class FailureGroup:
    """The letters of a group: their sequences, in order, and when each reaction gave up, in seconds since 1970."""

    name: LetterKind
    number: int
    id: str
    sequences: "array[int]" = field(default_factory=lambda: array("Q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    again: int = 0
    """How many of them failed again after a replay."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.sequences)

    @property
    def first(self) -> float:
        """When the first was given up."""
        return min(self.times)

    @property
    def last(self) -> float:
        """When the last was."""
        return max(self.times)

    @property
    def trend(self) -> list[int]:
        """How many came in each part of the time from the first one until now."""
        now, first = datetime.now(UTC).timestamp(), self.first
        width = max(now - first, 1.0) / BARS
        counts = Counter(min(int((at - first) / width), BARS - 1) for at in self.times)
        return [counts[bar] for bar in range(BARS)]

    def up_to(self, newest: int) -> Sequence[int]:
        """The sequences up to this one, the oldest first."""
        return self.sequences[: bisect_left(self.sequences, newest + 1)].tolist()

    def page(self, before: int, count: int) -> tuple[Sequence[int], int]:
        """The newest sequences below `before` (0: all), and how many are left below them."""
        end = bisect_left(self.sequences, before) if before else self.count
        start = max(0, end - count)
        return self.sequences[start:end][::-1].tolist(), start


@dataclass(frozen=True, slots=True)
class ReadSoFar:
    """How far the stream is read."""

    read: int = 0
    total: int = 0
    is_whole: bool = False
    """Whether nothing was left to be read."""


class Letters:
    """The groups as they are now, and the log of what operators did."""

    def __init__(self, link: Link, services: Iterable[str]) -> None:
        self._link, self._services = link, frozenset(services)
        self._task: asyncio.Task[None] | None = None
        self._forget()

    def _forget(self) -> None:
        self.groups: dict[str, FailureGroup] = {}
        self.batches = Batches()
        self.log = array("Q")
        """Where the entries stand, the oldest first."""
        self.deeds = array("Q")
        """The same without those that say no more than the beginning and the end of their batch."""
        self.undone: set[int] = set()
        """Where those stand that were undone."""
        self._letters_of_log = array("Q")
        self.progress = ReadSoFar()
        self._by_kind: dict[LetterKind, FailureGroup] = {}
        self._numbered: list[FailureGroup] = []
        self._sequences, self._numbers = array("Q"), array("I")  # of all letters, and the group of each
        self._again: set[int] = set()
        self._replayed: set[int] = set()  # the digests of messages
        self._recent: OrderedDict[int, int] = OrderedDict()
        self._edited: set[int] = set()
        self._next, self._created = 1, ""

    @property
    def count(self) -> int:
        """How many letters there are."""
        return len(self._sequences)

    @property
    def largest(self) -> list[FailureGroup]:
        """The groups, the largest first."""
        return sorted(self.groups.values(), key=lambda group: -group.count)

    def is_again(self, sequence: int) -> bool:
        """Whether the letter is what a replay came to."""
        return sequence in self._again

    def entry_about(self, letter: int) -> int:
        """Where the newest entry about a letter stands; 0: nowhere."""
        pairs = zip(reversed(self._letters_of_log), reversed(self.log), strict=True)
        return next((place for sequence, place in pairs if sequence == letter), 0)

    async def refresh(self) -> None:
        """Read what came since, or what a moment allows; the rest is read in the background.

        Raises:
            Unavailable: the broker is away, or has no such stream.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        is_late = True
        while is_late:  # one that is under way may have begun before what is looked for
            is_late = self._task is not None and not self._task.done()
            task = self._task if self._task and is_late else self._begin()
            await asyncio.wait([task], timeout=max(0.0, end - time.monotonic()))
            if not task.done():
                return
            task.result()

    async def stop(self) -> None:
        """End what is read in the background."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def drop(self, sequences: Iterable[int]) -> None:
        """Forget letters that are not there any more."""
        for sequence in sequences:
            if (place := _place(self._sequences, sequence)) >= 0:
                self._drop_from(self._numbered[self._numbers[place]], sequence)
                del self._sequences[place], self._numbers[place]
                self._edited.discard(sequence)

    def _drop_from(self, group: FailureGroup, sequence: int) -> None:
        place = _place(group.sequences, sequence)
        del group.sequences[place], group.times[place]
        group.again -= sequence in self._again
        self._again.discard(sequence)
        if not group.count:
            self.groups.pop(group.id, None)

    def _begin(self) -> "asyncio.Task[None]":
        self._task = asyncio.create_task(self._read(), name="the console's letters")
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # whoever waits hears it
        return self._task

    async def _read(self) -> None:
        connection = self._link.context.connection
        info = await request(connection, f"STREAM.INFO.{DEAD_LETTERS}", strict=True)
        state = info["state"]
        if info["created"] != self._created or state["last_seq"] + 1 < self._next:
            self._forget()
            self._created = info["created"]
        self.drop(self._sequences[: bisect_left(self._sequences, state["first_seq"])].tolist())
        async with reading(connection) as reader:
            if state["last_seq"] >= self._next:
                await self._read_pages(reader)
            else:
                self.progress = ReadSoFar(is_whole=True)
            gone = [each for each in sorted(self._edited) if not await _is_there(reader, each)]
        self.drop(gone)

    async def _read_pages(self, reader: DirectGet) -> None:
        read, pending = 0, 1
        while pending:
            found, pending = await reader.page(DEAD_LETTERS, ">", self._next, PAGE, PAGE_BYTES_MAX)
            for message in found:
                self._take(message)
                self._next = message.sequence + 1
            read += len(found)
            self.progress = ReadSoFar(read, read + pending, is_whole=not pending)

    def _take(self, message: Stored) -> None:
        first, service, *_ = message.subject.split(".", 2)
        if service not in self._services:
            return
        if first == LETTER:
            self._take_letter(letter_of(message), message)
        else:
            self._take_entry(message)

    def _take_entry(self, message: Stored) -> None:
        entry = entry_of(message.data)
        if entry is None:
            return
        self.log.append(message.sequence)
        self._letters_of_log.append(entry.letter)
        if entry.is_deed:
            self.deeds.append(message.sequence)
        self.undone |= {entry.undoes} - {0}
        self.batches.take(message, entry)
        if entry.action == EDITED:  # written before the event is sent: the letter may still be there
            self._edited.add(entry.letter)
        elif entry.action in REMOVED:
            self.drop([entry.letter])
        if entry.action in SENT:
            self._take_replay(_digest(message.subject), entry.letter)

    def _take_replay(self, digest: int, letter: int) -> None:
        self._replayed.add(digest)
        if (newest := self._recent.get(digest, 0)) > letter:  # it failed before the entry was written
            self._failed_again(newest)

    def _take_letter(self, letter: DeadLetter, message: Stored) -> None:
        group = self._group(LetterKind(letter.reaction, letter.kind, letter.frame))
        stored = datetime.fromisoformat(message.time).timestamp()
        given_up = letter.last_time.timestamp()
        group.sequences.append(letter.sequence)
        group.times.append(given_up if 0 < given_up < stored else stored)
        self._sequences.append(letter.sequence)
        self._numbers.append(group.number)
        digest = _digest(letter.subject)
        self._recent[digest] = letter.sequence
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        if digest in self._replayed:
            self._failed_again(letter.sequence)

    def _group(self, kind: LetterKind) -> FailureGroup:
        group = self._by_kind.get(kind)
        if group is None:
            group = self._by_kind[kind] = FailureGroup(kind, len(self._numbered), kind.id)
            self._numbered.append(group)
        self.groups[group.id] = group
        return group

    def _failed_again(self, sequence: int) -> None:
        place = _place(self._sequences, sequence)
        if place >= 0 and sequence not in self._again:
            self._numbered[self._numbers[place]].again += 1
            self._again.add(sequence)


async def _is_there(reader: DirectGet, sequence: int) -> bool:
    page = await reader.page(DEAD_LETTERS, ">", sequence, 1)
    return any(message.sequence == sequence for message in page.messages)


def _place(sequences: "array[int]", sequence: int) -> int:
    """Where a sequence stands; -1: nowhere."""
    place = bisect_left(sequences, sequence)
    return place if place < len(sequences) and sequences[place] == sequence else -1


def _digest(subject: str) -> int:
    """What a letter and the entries about it have in common, in little room."""
    return hash(subject.partition(".")[2])
