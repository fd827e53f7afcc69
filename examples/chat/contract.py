"""What chat records and answers: the events about a room and about a member's place in it, and the requests."""

from typing import Annotated

from pydantic import BaseModel, Field

from jetmesh import EventModel, Request, Token

Position = Annotated[int, Field(ge=0)]
"""A place in the order of a room: the sequence of a message, which every reader sees. 0 is before the first."""


class RoomEvent(EventModel, owner="chat", key_field="room_id"):
    """An event about a room."""

    room_id: Token


class RoomOpened(RoomEvent, type="chat.opened", from_outside=True):
    """A milestone: there is a room."""

    title: Annotated[str, Field(min_length=1, max_length=100)]


class MemberJoined(RoomEvent, type="chat.joined", from_outside=True, id_field="change_id"):
    """An occurrence: somebody came into the room."""

    change_id: Token
    member_id: Token


class MemberLeft(RoomEvent, type="chat.left", from_outside=True, id_field="change_id"):
    """An occurrence: somebody went out of the room."""

    change_id: Token
    member_id: Token


class Roster(RoomEvent, type="chat.roster", state=True):
    """A state: who is in the room."""

    members: list[Token]


class MessageSent(RoomEvent, type="chat.message_sent", from_outside=True, id_field="message_id"):
    """An occurrence: somebody said something."""

    message_id: Token
    sender_id: Token
    text: Annotated[str, Field(min_length=1, max_length=4_000)]


class MessageHidden(RoomEvent, type="chat.message_hidden", id_field="message_id"):
    """An occurrence: a message is not shown any more; `position` is its own."""

    message_id: Token
    position: Position
    word: str


class ReadingEvent(EventModel, owner="chat", key_field="reading_id"):
    """An event about how far a member has read in a room; `reading_of` makes its key."""

    reading_id: Token


class MarkedRead(ReadingEvent, type="readings.marked", from_outside=True, id_field="mark_id"):
    """An occurrence: a member has read up to a position."""

    mark_id: Token
    position: Position


class ReadUpTo(ReadingEvent, type="readings.up_to", state=True):
    """A state: the furthest position that a member has read up to."""

    position: Position


def reading_of(room_id: str, member_id: str) -> str:
    """The key of a member's reading in a room."""
    return f"{room_id}:{member_id}"


class Message(BaseModel):
    """One message of a room, as it is shown: without its text once it is hidden."""

    position: Position
    message_id: Token
    sender_id: Token
    text: str
    is_hidden: bool


class Page(BaseModel):
    """Messages in the order of the room, and how many follow."""

    messages: list[Message]
    left: int


class History(Request[Page], type="chat.history", key_field="room_id"):
    """What was said in a room, from a position on."""

    room_id: Token
    after: Position = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class Count(BaseModel):
    """How many messages a member has not read."""

    unread: int


class Unread(Request[Count], type="chat.unread", key_field="reading_id"):
    """How many messages that are not hidden has a member not read?"""

    room_id: Token
    member_id: Token
    reading_id: Token


class Members(BaseModel):
    """Who is in a room."""

    title: str
    members: list[Token]


class WhoIsThere(Request[Members], type="chat.who_is_there", key_field="room_id"):
    """Who is in this room?"""

    room_id: Token
