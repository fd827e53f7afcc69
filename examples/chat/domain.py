"""What chat decides: pure functions on plain values."""

from collections.abc import Iterable, Mapping, Sequence

from examples.chat.contract import (
    MarkedRead,
    MemberJoined,
    MemberLeft,
    Message,
    MessageHidden,
    MessageSent,
    ReadUpTo,
    Roster,
)


def rosters(changes: Sequence[MemberJoined | MemberLeft], before: Mapping[str, Roster]) -> list[Roster]:
    """Who is in each room after these changes."""
    members = {room: dict.fromkeys(before[room].members) if room in before else {} for room in rooms_of(changes)}
    for change in changes:
        if isinstance(change, MemberJoined):
            members[change.room_id][change.member_id] = None
        else:
            members[change.room_id].pop(change.member_id, None)
    return [Roster(room_id=room, members=list(those)) for room, those in members.items()]


def rooms_of(changes: Iterable[MemberJoined | MemberLeft]) -> list[str]:
    """The rooms of these changes, each once."""
    return list(dict.fromkeys(change.room_id for change in changes))


def readings(marks: Sequence[MarkedRead], before: Mapping[str, ReadUpTo]) -> list[ReadUpTo]:
    """How far each member has read after these marks: never less far than before."""
    furthest = {mark.reading_id: before[mark.reading_id].position for mark in marks if mark.reading_id in before}
    for mark in marks:
        furthest[mark.reading_id] = max(mark.position, furthest.get(mark.reading_id, 0))
    return [ReadUpTo(reading_id=reading_id, position=position) for reading_id, position in furthest.items()]


def banned_word(text: str, banned: Iterable[str]) -> str:
    """The first word of a text that is banned; empty if there is none."""
    words = {"".join(filter(str.isalnum, word)).casefold() for word in text.split()}
    return min(words & {word.casefold() for word in banned}, default="")


def shown(sent: MessageSent, position: int, hidden: Iterable[MessageHidden]) -> Message:
    """A message as it is shown."""
    is_hidden = any(one.message_id == sent.message_id for one in hidden)
    text = "" if is_hidden else sent.text
    return Message(
        position=position, message_id=sent.message_id, sender_id=sent.sender_id, text=text, is_hidden=is_hidden
    )
