"""Follows subjects of a stream without a consumer: their newest messages are asked for again and again.

A user with an account of its own can't be let make consumers: the broker would deliver to any subject that it names.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager

from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import Denied, Unavailable
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.direct_get import DirectGet, Stored
from jetmesh.jetstream.transport import Transport

log = logging.getLogger("jetmesh.polling")

QUICK_SECONDS, BUSY_SECONDS, QUIET_SECONDS = 0.03, 0.1, 0.5
"""The pause between two readings: right after something has come, some seconds later, and then. None is shorter than
the reading took."""
QUICK_PER_SECOND_MAX = 1_000
"""So many subjects are read quickly, of all that this process follows; of more, each is read less often."""
QUICK_FOR_SECONDS, BUSY_FOR_SECONDS = 2.0, 10.0
ONCE_SECONDS = 5.0
"""The pause for what has come and happens once: it comes again only if a restore takes the stream back."""
RETRY_SECONDS = 1.0
PAGE = 500


_followed: set["Polled"] = set()


class Polled:
    """One subject, from behind a sequence on. With `pages` every message on it is read, and else the newest."""

    def __init__(
        self, direct_get: DirectGet, stream: str, subject: str, after: int, *, once: bool, pages: bool
    ) -> None:
        self._direct_get, self._stream, self._subject = direct_get, stream, subject
        self._is_once, self._has_pages = once, pages
        self.sequence, self.time = after, 0
        """Of the last message that has come; the time is 0 where it is not known."""
        self.has_more = False
        """Whether more follow those that were read."""
        self._due = 0.0

    async def newest(self) -> Stored | None:
        """The newest message; None if there is none, or it is not due.

        Raises:
            Denied: this user may not read it.
            Unavailable: the stream did not answer.
        """
        if time.monotonic() < self._due:
            return None
        return await self._direct_get.newest(self._stream, self._subject, named=not self._has_pages)

    async def more(self, newest: Stored | None) -> list[Stored]:
        """The messages that are new, oldest first, or the first of many; raises what `newest` raises."""
        if newest is None or not self._is_new(newest):
            return []
        return await self._page() if self._has_pages else [newest]

    def took(self, stored: Stored) -> None:
        """A message was handed on."""
        self.sequence, self.time = stored.sequence, unix_nano(stored.time)
        if self._is_once:
            self._due = time.monotonic() + ONCE_SECONDS

    async def _page(self) -> list[Stored]:
        first = self.sequence if self.time else self.sequence + 1
        page = await self._direct_get.page(self._stream, self._subject, first, PAGE)
        if self.time and not (page.messages and self._is_last(page.messages[0])):
            page = await self._direct_get.page(self._stream, self._subject, 1, PAGE)
        while page.pending and not any(map(self._is_new, page.messages)):
            first = page.messages[-1].sequence + 1
            page = await self._direct_get.page(self._stream, self._subject, first, PAGE)
        self.has_more = page.pending > 0
        return [stored for stored in page.messages if self._is_new(stored)]

    def _is_new(self, stored: Stored) -> bool:
        """Whether it comes behind the last one, on a stream that a restore may have taken back."""
        return stored.sequence > self.sequence or 0 < self.time < unix_nano(stored.time)

    def _is_last(self, stored: Stored) -> bool:
        return (stored.sequence, unix_nano(stored.time)) == (self.sequence, self.time)


async def poll(
    connection: Transport, direct_get: DirectGet, stream: str, subjects: Mapping[str, bool], after: int, *, pages: bool
) -> AsyncGenerator[Stored, None]:
    """The messages on some subjects (each with whether it has one message at most) behind a sequence: those that are
    there and those that come. It waits while the broker is away.

    Raises:
        Denied: this user may not read one of them.
        Unavailable: it can't begin: the broker is away, or there is no such stream.
    """
    polls = [Polled(direct_get, stream, subject, after, once=once, pages=pages) for subject, once in subjects.items()]
    has_begun, conditions, came = False, Conditions(log), time.monotonic()
    with _following(polls):
        while True:
            began = time.monotonic()
            try:
                found = await _round(polls, after)
                has_begun = True
            except Denied:
                raise
            except Unavailable as away:
                if not has_begun:
                    raise
                conditions.log("away", logging.INFO, "%s is not followed: %s", stream, away)
                await connection.pause(RETRY_SECONDS)
                continue
            took = time.monotonic() - began
            for each, stored in found:
                each.took(stored)
                came = time.monotonic()
                yield stored
            await connection.pause(max(_pause(time.monotonic() - came), took))


@contextmanager
def _following(polls: Sequence[Polled]) -> Iterator[None]:
    """These are followed in the block."""
    _followed.update(polls)
    try:
        yield
    finally:
        _followed.difference_update(polls)


def _pause(seconds: float) -> float:
    """The pause so long after something has come."""
    if seconds < QUICK_FOR_SECONDS:
        return min(max(QUICK_SECONDS, len(_followed) / QUICK_PER_SECOND_MAX), BUSY_SECONDS)
    return BUSY_SECONDS if seconds < BUSY_FOR_SECONDS else QUIET_SECONDS


async def _round(polls: Sequence[Polled], after: int) -> list[tuple[Polled, Stored]]:
    """What is new on each subject, in the order of the stream as far as every one of them was read."""
    newest = await asyncio.gather(*(each.newest() for each in polls))
    _learn(polls, newest, after)
    pages = await asyncio.gather(*(each.more(stored) for each, stored in zip(polls, newest, strict=True)))
    found = [(each, stored) for each, page in zip(polls, pages, strict=True) for stored in page]
    ends = [page[-1].sequence for each, page in zip(polls, pages, strict=True) if page and each.has_more]
    return sorted((f for f in found if not ends or f[1].sequence <= min(ends)), key=lambda f: f[1].sequence)


def _learn(polls: Sequence[Polled], newest: Sequence[Stored | None], after: int) -> None:
    """Where the message at the position is there, its time is known."""
    for at in (unix_nano(stored.time) for stored in newest if stored and stored.sequence == after):
        for each in polls:
            each.time = each.time or at
