"""Searches the messages of streams, the newest first, a bounded part at a time; how many were looked at is always told.

Each place (a stream, with the subjects on it that may fit) is read backwards in windows of sequences, and the places
are merged by time. A search that has more to look at says where it goes on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Protocol

from jetmesh.common import json_body
from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.direct_get import DirectGet, Stored
from jetmesh.jetstream.headers import TRACEPARENT, Jetmesh
from jetmesh.jetstream.subject import Subject, is_marker
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.json_path import Condition
from jetmesh.topology.names import dead_letter

WINDOW, WINDOW_MAX = 256, 1 << 22
PAGE, PAGE_BYTES_MAX = 500, 4 << 20
HITS_MAX, LOOKED_MAX, SECONDS_MAX = 50, 5_000, 1.5
"""What one part of a search finds, looks at, and takes, at most."""
LETTER = dead_letter("")
About = Callable[[Stored], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a message shall be like. A header is a name and a text in its value; both may be empty."""

    type: str = ""
    key: str = ""
    trace: str = ""
    header: tuple[str, str] = ("", "")
    path: Condition | None = None
    since: datetime | None = None
    until: datetime | None = None

    def finds(self, message: Stored, about: tuple[str, str]) -> "list[str] | None":
        """What of the message was looked for, in words; None if it does not fit. It is about an event of a type and
        a key."""
        event, key = about
        if (self.type and event != self.type) or (self.key and key != self.key):
            return None
        if self.trace and trace_of(message) != self.trace:
            return None
        headers = self._headers(message)
        values = self._values(message)
        return None if headers is None or values is None else [*headers, *values]

    def _headers(self, message: Stored) -> list[str] | None:
        name, text = self.header
        if not name:
            return []
        fitting = (
            (n, v) for n, v in message.headers.items() if n.lower() == name.lower() and text.lower() in v.lower()
        )
        return [f"{n}: {v}" for n, v in fitting] or None

    def _values(self, message: Stored) -> list[str] | None:
        if self.path is None:
            return []
        try:
            document = json_body.document(message.data)
        except json_body.Malformed:
            return None
        return [str(value) for value in self.path.found_in(document)[:3]] or None


def about_of(message: Stored) -> tuple[str, str]:
    """The type and the key of the event in a message, of a dead letter those of the event that it is about; the key is
    empty for what came from outside."""
    subject = Subject.parse(source_of(message))
    return subject.type, subject.key


def source_of(message: Stored) -> str:
    """The subject of a message; of a dead letter that of the message that it is about."""
    return message.headers.get(Jetmesh.SUBJECT, "") if message.subject.startswith(LETTER) else message.subject


def trace_of(message: Stored) -> str:
    """The trace id of a message; empty if it has none."""
    given = message.headers.get(Jetmesh.TRACEPARENT) or message.headers.get(TRACEPARENT, "")
    return given[3:35]


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that fits, and what of it was looked for."""

    place: str
    stream: str
    message: Stored
    found: Sequence[str]
    type: str
    key: str


class SearchPlace(Protocol):
    """Where messages are looked for. `at` is where the next part goes on; empty at the beginning."""

    name: str
    at: str

    async def open(self) -> int:
        """Begin, or go on; how many messages are left to be looked at."""
        ...

    async def newest(self) -> tuple[str, Stored] | None:
        """The next message with its stream, without taking it; None at the end."""
        ...

    def take(self) -> None:
        """Go past it."""
        ...

    def about(self, message: Stored) -> tuple[str, str]:
        """The type and the key of the event in a message."""
        ...


class StreamPlace:
    """The messages of a stream on a subject, backwards."""

    def __init__(
        self,
        connection: Transport,
        reader: DirectGet,
        where: tuple[str, str],
        wanted: Wanted,
        at: str = "",
        about: About = about_of,
    ) -> None:
        (self.name, self._subject), self.at = where, at
        self._connection, self._reader, self._wanted = connection, reader, wanted
        self._buffer = deque[Stored]()
        self.about, self.is_away = about, False
        self._high, self._low, self._width = 0, 1, WINDOW

    async def open(self) -> int:
        """Find the bounds, by the times and by where it goes on."""
        info = await request(self._connection, f"STREAM.INFO.{self.name}")
        if info is None:
            self.is_away = True
            return 0
        self._low, self._high = max(1, info["state"]["first_seq"]), info["state"]["last_seq"]
        if self._wanted.since:
            self._low = await self._reader.first_since(self.name, self._wanted.since) or self._high + 1
        if self.at.isdecimal():
            self._high = min(self._high, int(self.at))
        elif self._wanted.until and (above := await self._reader.first_since(self.name, self._wanted.until)):
            self._high = above - 1
        return max(0, await self._count(self._low) - await self._count(self._high + 1))

    async def newest(self) -> tuple[str, Stored] | None:
        """From the window at hand, else from the next one that has any."""
        while not self._buffer and self._high >= self._low:
            await self._fill()
        return (self.name, self._buffer[-1]) if self._buffer else None

    def take(self) -> None:
        """Go past it."""
        self.at = str(self._buffer.pop().sequence - 1)

    async def _fill(self) -> None:
        """Read the window below; one in which there is too much is made smaller."""
        first = max(self._low, self._high - self._width + 1)
        found, pending = await self._reader.page(self.name, self._subject, first, PAGE, PAGE_BYTES_MAX)
        if pending and found and found[-1].sequence < self._high and first < self._high:
            self._width = max(1, (self._high - first + 1) // 2)
            return
        self._buffer.extend(message for message in found if message.sequence <= self._high)
        self._high = first - 1
        if len(self._buffer) < PAGE // 4:
            self._width = min(self._width * 4, WINDOW_MAX)

    async def _count(self, first: int) -> int:
        found, pending = await self._reader.page(self.name, self._subject, first, 1)
        return len(found) + pending


@dataclass(slots=True)
class SearchPart:
    """One part of a search: what fits, and how many messages were looked at of how many."""

    hits: list[Hit] = field(default_factory=list)
    looked: int = 0
    left: int = 0
    goes_on: Sequence[str] = ()
    """Where each place goes on; empty where nothing is left."""

    @property
    def total(self) -> int:
        """How many there are to be looked at."""
        return self.looked + self.left


async def search(
    places: Sequence[SearchPlace], wanted: Wanted, looked: int, is_given_up: Callable[[], Awaitable[bool]]
) -> SearchPart:
    """The next part of a search, after so many that were looked at.

    Raises:
        Unavailable: a stream does not answer.
    """
    found = SearchPart(looked=looked, left=sum(await asyncio.gather(*(place.open() for place in places))))
    heads = [each for each in await asyncio.gather(*map(_head, range(len(places)), places)) if each]
    heapify(heads)
    end, looked_max = time.monotonic() + SECONDS_MAX, looked + LOOKED_MAX
    while heads and len(found.hits) < HITS_MAX and found.looked < looked_max and time.monotonic() < end:
        if found.looked % PAGE == 0 and await is_given_up():
            break
        _, number, stream, message = heappop(heads)
        places[number].take()
        if head := await _head(number, places[number]):
            heappush(heads, head)
        found.looked, found.left = found.looked + 1, max(0, found.left - 1)
        if is_marker(message.subject):
            continue
        about = places[number].about(message)
        if (what := wanted.finds(message, about)) is not None:
            found.hits.append(Hit(places[number].name, stream, message, what, *about))
    found.goes_on = [place.at for place in places] if heads else ()
    found.left = found.left if heads else 0
    return found


async def _head(number: int, place: SearchPlace) -> tuple[int, int, str, Stored] | None:
    """The next message of a place, so that the newest of all is the least."""
    head = await place.newest()
    return (-unix_nano(head[1].time), number, *head) if head else None
