"""What an application does for its members: sends for them, and gives every one of them the room in one order.

A process follows a room once, however many of its members look at it: `Feed` hands each event on to all of them.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from examples.chat.contract import (
    Count,
    History,
    MarkedRead,
    MemberJoined,
    MessageHidden,
    MessageSent,
    Page,
    RoomOpened,
    Unread,
    reading_of,
)
from jetmesh import Mesh, PublishResult

COALESCE_SECONDS = 0.02
"""How long what comes is gathered before the readers of a process are woken: each time costs as much for one event as
for ten."""


class Entry(NamedTuple):
    """One event of a room, at its position."""

    position: int
    event: MessageSent | MessageHidden


class Rooms:
    """The rooms, over one connection."""

    def __init__(self, mesh: Mesh, wait_seconds: float = 5.0) -> None:
        self._mesh, self._wait_seconds = mesh, wait_seconds

    async def open(self, room_id: str, title: str) -> PublishResult:
        """Open a room; the answer says whether it was recorded."""
        return await self._mesh.publish(RoomOpened(room_id=room_id, title=title), wait_seconds=self._wait_seconds)

    async def join(self, room_id: str, member_id: str, change_id: str) -> PublishResult:
        """Let a member in; the same `change_id` again changes nothing."""
        return await self._mesh.publish(MemberJoined(room_id=room_id, member_id=member_id, change_id=change_id))

    async def send(self, room_id: str, sender_id: str, message_id: str, text: str) -> PublishResult:
        """Say something; the same `message_id` again is the same message."""
        sent = MessageSent(room_id=room_id, sender_id=sender_id, message_id=message_id, text=text)
        return await self._mesh.publish(sent)

    async def mark_read(self, room_id: str, member_id: str, position: int) -> PublishResult:
        """A member has read up to a position."""
        reading_id = reading_of(room_id, member_id)
        marked = MarkedRead(reading_id=reading_id, mark_id=f"p-{position}", position=position)
        return await self._mesh.publish(marked)

    async def unread(self, room_id: str, member_id: str) -> int:
        """How many messages a member has not read."""
        asked = Unread(room_id=room_id, member_id=member_id, reading_id=reading_of(room_id, member_id))
        count: Count = await self._mesh.request(asked)
        return count.unread

    async def history(self, room_id: str, after: int = 0, limit: int = 100) -> Page:
        """What was said behind a position."""
        return await self._mesh.request(History(room_id=room_id, after=after, limit=limit))

    async def entries(self, room_id: str, after: int = 0) -> AsyncGenerator[Entry, None]:
        """Everything in the room behind a position, and then what comes, in the order that all readers see."""
        async with aclosing(self._mesh.follow(room_id, MessageSent, MessageHidden, after=after)) as events:
            async for event in events:
                kind = MessageSent if event.type == MessageSent.type else MessageHidden
                yield Entry(event.sequence, kind.read(event.data))


class Feed:
    """A room for any number of readers of one process. Each reader has a place of its own in a chain of batches; what
    all of them have passed is forgotten."""

    def __init__(self) -> None:
        self._next = _Batch()
        self._waiting: list[Entry] = []

    async def run(self, rooms: Rooms, room_id: str, after: int = 0) -> None:
        """Follow the room until this is cancelled."""
        async for entry in rooms.entries(room_id, after):
            if not self._waiting:
                asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._hand_on)
            self._waiting.append(entry)

    def _hand_on(self) -> None:
        batch, self._next = self._next, _Batch()
        batch.entries, batch.next = tuple(self._waiting), self._next
        self._waiting = []
        batch.is_there.set()

    async def batches(self) -> AsyncGenerator[tuple[Entry, ...], None]:
        """What comes into the room from now on, for one reader."""
        following: _Batch | None = self._next
        while following:
            await following.is_there.wait()
            yield following.entries
            following = following.next


class _Batch:
    """What is handed on at once, and the place of what comes after it."""

    __slots__ = ("entries", "is_there", "next")

    def __init__(self) -> None:
        self.entries: tuple[Entry, ...] = ()
        self.is_there = asyncio.Event()
        self.next: _Batch | None = None
