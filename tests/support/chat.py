"""A small service with all kinds of events: members write messages in rooms, and the room's tally counts them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from jetmesh import Service, Snapshot
from jetmesh_contracts import Event, Token


class RoomEvent(Event, owner="chat", key_field="room_id"):
    """An event about a room."""

    room_id: Token


class RoomOpened(RoomEvent, type="chat.opened"):
    """A milestone: there is a room."""


class RoomClosed(RoomEvent, type="chat.closed", ending=True):
    """A milestone that ends the story of a room."""


class MessageSent(RoomEvent, type="chat.message_sent", from_outside=True, id_field="message_id"):
    """An occurrence: somebody said something."""

    message_id: Token
    sender_id: Token = "s-1"
    text: str = ""


class Tallied(RoomEvent, type="chat.tallied", occurrence=True):
    """An occurrence whose id is its cause's: one message was counted."""


class Tally(RoomEvent, type="chat.tally", state=True):
    """A state: how many messages were counted."""

    messages: int


class SenderSeen(Event, type="chat.sender_seen", owner="chat", key_field="sender_id"):
    """A milestone about another key: somebody wrote for the first time."""

    sender_id: Token


@dataclass(frozen=True)
class Room:
    """What chat has recorded about a room, its messages apart."""

    messages: int = 0

    def evolve(self, event: RoomOpened | Tally) -> Self:
        """The room after `event`."""
        return replace(self, messages=event.messages) if isinstance(event, Tally) else self


@dataclass(frozen=True)
class Sender:
    """What chat has recorded about somebody who writes."""

    seen: bool = False

    def evolve(self, event: SenderSeen) -> Self:
        """The sender after `event`."""
        return replace(self, seen=True)


def chat() -> Service:
    """Takes messages from outside, counts them, and notes who writes."""
    service = Service("chat")

    @service.intake
    async def send(message: MessageSent) -> MessageSent:
        """Somebody wrote a message: record it once."""
        return message

    @service.on
    async def count(message: MessageSent, room: Room) -> tuple[Tallied, Tally]:
        """A message was sent: count it."""
        return Tallied(room_id=message.room_id), Tally(room_id=message.room_id, messages=room.messages + 1)

    @service.on(about="sender_id")
    async def notice(message: MessageSent, sender: Sender) -> SenderSeen | None:
        """A message was sent: note its sender, the first time."""
        return None if sender.seen else SenderSeen(sender_id=message.sender_id)

    return service


def sending() -> Service:
    """Takes messages from outside."""
    service = Service("chat")

    @service.intake
    async def send(message: MessageSent) -> MessageSent:
        """Somebody wrote a message: record it once."""
        return message

    return service


def counting(batches: list[int]) -> Service:
    """Takes many messages of a room from outside and counts them in one commit; `batches` gets the size of each
    decision."""
    service = Service("chat")

    @service.on_many
    async def count(messages: Sequence[MessageSent], snapshot: Snapshot) -> list[MessageSent | Tally]:
        """Somebody wrote messages: record and count them."""
        batches.append(len(messages))
        rooms = Counter(message.room_id for message in messages)
        tallies = await snapshot.latest(Tally, rooms)
        before = {room: tallies[room].messages if room in tallies else 0 for room in rooms}
        return [*messages, *(Tally(room_id=room, messages=before[room] + more) for room, more in rooms.items())]

    return service
