"""Subjects: how those of events are made and taken apart, and what a pattern with wildcards covers."""

from typing import NamedTuple, Self

from jetmesh.event import EventType, is_occurrence

MARKER = "ENDED"
"""The second token of a marker's subject, in place of an event's name. No event has a name in capitals."""
_MARKED = f".{MARKER}."


class Subject(NamedTuple):
    """Where an event is recorded: `<entity>.<event>.<key>`, with the id of an occurrence behind it; without a key,
    where it is published from outside."""

    entity: str
    event: str = ""
    key: str = ""
    id: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """What a subject says; all that follows the third token is the id."""
        entity, _, rest = text.partition(".")
        event, _, rest = rest.partition(".")
        key, _, occurrence = rest.partition(".")
        return cls(entity, event, key, occurrence)

    @property
    def type(self) -> str:
        """The type of the event: the first two tokens."""
        return f"{self.entity}.{self.event}"

    def __str__(self) -> str:
        return ".".join(token for token in self if token)


def subject_of(event_type: EventType, key: str, occurrence: str = "") -> str:
    """The subject that an event of this type about `key` is recorded on; `occurrence` tells one from another."""
    return f"{event_type.type}.{key}.{occurrence}" if occurrence else f"{event_type.type}.{key}"


def subjects_of(event_type: EventType, key: str = "*") -> str:
    """The subjects of all events of this type, or of those about `key`."""
    return subject_of(event_type, key, "*" if is_occurrence(event_type) else "")


def key_in(subject: str) -> str:
    """The key in the subject of a recorded event: its third token."""
    return subject.split(".", 3)[2] if subject.count(".") > 1 else ""


def story_subject(entity: str, key: str) -> str:
    """The filter of all events of one entity about one key.

    Only this function spells the guard of a key: on a replicated stream the server compares the spelling of guards in
    flight, so that two spellings would let two writers pass.
    """
    return f"{entity}.*.{key}"


def key_subjects(key: str) -> str:
    """The filter of all events about one key, of every entity."""
    return story_subject("*", key)


def marker_subject(entity: str, key: str) -> str:
    """The subject of the marker that replaces an archived story; the guards of the key rest on it."""
    return f"{entity}.{MARKER}.{key}"


def is_marker(subject: str) -> bool:
    """Whether it is the subject of a marker, not of an event."""
    return _MARKED in subject and subject.split(".", 2)[1] == MARKER


def covers(pattern: str, subject: str) -> bool:
    """Whether the pattern matches a subject; of another pattern, whether it matches all that this one matches. `*` is
    one token, `>` one or more at the end."""
    wide, narrow = pattern.split("."), subject.split(".")
    if wide[-1] == ">":
        if len(narrow) < len(wide):
            return False
        wide, narrow = wide[:-1], narrow[: len(wide) - 1]
    return len(wide) == len(narrow) and all(
        w == n or (w == "*" and n != ">") for w, n in zip(wide, narrow, strict=True)
    )
