"""The dead letters in the console's memory, a line each, so that a group of a hundred thousand opens at once.

The stream is read once, and then what came since: letters, and the entries about those that were taken away. It is read
only when somebody looks.
"""

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import takewhile

from jetmesh.console.link import Link
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.stream_reader import messages
from jetmesh.jetstream.subject import covers
from jetmesh.operate.dead_letters import PAGE_BYTES_MAX, REMOVED, DeadLetter, Entry, entry_of, letter_of
from jetmesh.topology.names import DEAD_LETTERS, DEAD_LOG_SUBJECTS

PAGE = 1_000
BARS = 24
"""The columns of a group's trend."""


@dataclass(frozen=True, slots=True)
class LetterKind:
    """What the letters of a group have in common: the reaction, the error without ids, and where it was raised."""

    reaction: str
    kind: str
    frame: str

    @property
    def id(self) -> str:
        """A short name of it, for addresses."""
        return sha256("\0".join((self.reaction, self.kind, self.frame)).encode()).hexdigest()[:16]


@dataclass(slots=True)
class FailureGroup:
    """The letters of a group: their sequences with the times at which they were stored."""

    name: LetterKind
    times: dict[int, float] = field(default_factory=dict)
    again: int = 0
    """How many of them failed again after a replay."""

    @property
    def first(self) -> float:
        """When the first was stored, in seconds since 1970."""
        return next(iter(self.times.values()))

    @property
    def last(self) -> float:
        """When the last was."""
        return next(reversed(self.times.values()))

    @property
    def trend(self) -> list[int]:
        """How many came in each part of the time from the first one until now."""
        now, first = datetime.now(UTC).timestamp(), self.first
        width = max(now - first, 1.0) / BARS
        counts = Counter(min(int((at - first) / width), BARS - 1) for at in self.times.values())
        return [counts[bar] for bar in range(BARS)]


class Letters:
    """The groups as they are now, and the log of what operators did."""

    def __init__(self, link: Link, services: Iterable[str]) -> None:
        self._link, self._services = link, frozenset(services)
        self._reading = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        self.groups: dict[str, FailureGroup] = {}
        self.entries: list[Entry] = []
        self._group_of: dict[int, FailureGroup] = {}
        self._again: set[int] = set()
        self._replayed: set[str] = set()
        self._newest: dict[str, int] = {}
        self._next, self._created = 1, ""

    @property
    def count(self) -> int:
        """How many letters there are."""
        return len(self._group_of)

    @property
    def largest(self) -> list[FailureGroup]:
        """The groups, the largest first."""
        return sorted(self.groups.values(), key=lambda group: -len(group.times))

    def is_again(self, sequence: int) -> bool:
        """Whether the letter is what a replay came to."""
        return sequence in self._again

    async def refresh(self) -> None:
        """Read what came since.

        Raises:
            Unavailable: the broker is away, or has no such stream.
        """
        async with self._reading:
            connection = self._link.context.connection
            info = await request(connection, f"STREAM.INFO.{DEAD_LETTERS}", strict=True)
            if info["created"] != self._created or info["state"]["last_seq"] + 1 < self._next:
                self._forget()
                self._created = info["created"]
            if info["state"]["last_seq"] >= self._next:
                async for message in messages(connection, DEAD_LETTERS, ">", self._next, PAGE, PAGE_BYTES_MAX):
                    self._take(message)
                    self._next = message.sequence + 1
            self._drop_before(info["state"]["first_seq"])

    def drop(self, sequences: Iterable[int]) -> None:
        """Forget letters that are not there any more."""
        for sequence in sequences:
            if group := self._group_of.pop(sequence, None):
                del group.times[sequence]
                group.again -= sequence in self._again
                self._again.discard(sequence)
                if not group.times:
                    del self.groups[group.name.id]

    def _drop_before(self, first: int) -> None:
        self.drop(list(takewhile(lambda sequence: sequence < first, self._group_of)))

    def _take(self, message: Stored) -> None:
        if covers(DEAD_LOG_SUBJECTS, message.subject):
            self._take_entry(message)
        else:
            letter = letter_of(message)
            if letter.service in self._services:
                self._take_letter(letter, datetime.fromisoformat(message.time).timestamp())

    def _take_entry(self, message: Stored) -> None:
        entry = entry_of(message.data)
        if entry is None:
            return
        self.entries.append(entry)
        if entry.action in REMOVED:
            self.drop([entry.letter])
            origin = _origin(message.subject)
            self._replayed.add(origin)
            if (newest := self._newest.get(origin, 0)) > entry.letter:  # it failed before the entry was written
                self._failed_again(newest)

    def _take_letter(self, letter: DeadLetter, at: float) -> None:
        name = LetterKind(letter.reaction, letter.kind, letter.frame)
        group = self.groups.setdefault(name.id, FailureGroup(name))
        group.times[letter.sequence] = at
        self._group_of[letter.sequence] = group
        origin = _origin(letter.subject)
        self._newest[origin] = letter.sequence
        if origin in self._replayed:
            self._failed_again(letter.sequence)

    def _failed_again(self, sequence: int) -> None:
        group = self._group_of.get(sequence)
        if group and sequence not in self._again:
            group.again += 1
            self._again.add(sequence)


def _origin(subject: str) -> str:
    """What a letter and the entries about it have in common."""
    return subject.partition(".")[2]


def page_of(group: FailureGroup, before: int, count: int) -> tuple[Sequence[int], int]:
    """The newest sequences of a group below `before` (0: all), and how many are left below them."""
    known = array("Q", group.times)
    end = len(known) if not before else sum(sequence < before for sequence in known)
    return known[max(0, end - count) : end][::-1].tolist(), max(0, end - count)
