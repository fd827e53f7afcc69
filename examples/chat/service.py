"""Record what is said and who is there, hide what is banned, and tell history and unread counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from examples.chat import domain
from examples.chat.contract import (
    Count,
    History,
    MarkedRead,
    MemberJoined,
    MemberLeft,
    Members,
    MessageHidden,
    MessageSent,
    Page,
    ReadUpTo,
    RoomOpened,
    Roster,
    Unread,
    WhoIsThere,
)
from jetmesh import App, Delivery, Problem, Service, Snapshot


class Log(Protocol):
    """What was said in the rooms, as the stream has it."""

    async def messages(self, room_id: str, after: int, limit: int) -> tuple[list[tuple[int, MessageSent]], int]:
        """Messages behind a position, each with its own; and how many are left."""

    async def hidden(self, room_id: str, after: int) -> list[MessageHidden]:
        """What was hidden behind a position."""


@dataclass(frozen=True)
class Needs:
    """What chat needs: its log, and the words that nobody shall read."""

    log: Log
    banned: frozenset[str]


@dataclass(frozen=True)
class Room:
    """What chat has recorded about a room, its messages apart."""

    title: str = ""
    members: tuple[str, ...] = ()

    def evolve(self, event: RoomOpened | Roster) -> Self:
        """The room after `event`."""
        if isinstance(event, RoomOpened):
            return replace(self, title=event.title)
        return replace(self, members=tuple(event.members))


@dataclass(frozen=True)
class Reading:
    """How far a member has read."""

    position: int = 0

    def evolve(self, event: ReadUpTo) -> Self:
        """The reading after `event`."""
        return replace(self, position=event.position)


chat = Service("chat", Needs)


@chat.intake
async def open_room(opened: RoomOpened) -> RoomOpened:
    """Somebody opened a room: record it once."""
    return opened


@chat.intake
async def send(message: MessageSent) -> MessageSent:
    """Somebody said something: record it once."""
    return message


@chat.on_many
async def admit(
    changes: Sequence[MemberJoined | MemberLeft], snapshot: Snapshot
) -> list[MemberJoined | MemberLeft | Roster]:
    """Members came or went: record that, and who is there now, in one commit."""
    return [*changes, *domain.rosters(changes, await snapshot.latest(Roster, domain.rooms_of(changes)))]


@chat.on_many
async def mark(marks: Sequence[MarkedRead], snapshot: Snapshot) -> list[MarkedRead | ReadUpTo]:
    """Members have read: record that, and how far each has read, in one commit."""
    before = await snapshot.latest(ReadUpTo, [one.reading_id for one in marks])
    return [*marks, *domain.readings(marks, before)]


@chat.on
async def moderate(message: MessageSent, needs: Needs, delivery: Delivery) -> MessageHidden | None:
    """A message was sent: hide it if it has a banned word."""
    word = domain.banned_word(message.text, needs.banned)
    if not word:
        return None
    return MessageHidden(room_id=message.room_id, message_id=message.message_id, position=delivery.sequence, word=word)


@chat.endpoint
async def history(request: History, needs: Needs) -> Page:
    """Tell what was said in a room."""
    sent, left = await needs.log.messages(request.room_id, request.after, request.limit)
    hidden = await needs.log.hidden(request.room_id, request.after)
    return Page(messages=[domain.shown(message, position, hidden) for position, message in sent], left=left)


@chat.endpoint
async def unread(request: Unread, reading: Reading, needs: Needs) -> Count:
    """Tell how many messages a member has not read, without those that are hidden."""
    sent, left = await needs.log.messages(request.room_id, reading.position, 1)
    hidden = await needs.log.hidden(request.room_id, reading.position)
    return Count(unread=len(sent) + left - sum(one.position > reading.position for one in hidden))


@chat.endpoint
async def who_is_there(request: WhoIsThere, room: Room) -> Members:
    """Tell who is in a room."""
    if not room.title:
        raise Problem(404, "There is no such room", "It may not have been opened yet.")
    return Members(title=room.title, members=list(room.members))


SERVICES = App([chat], name="chat")
