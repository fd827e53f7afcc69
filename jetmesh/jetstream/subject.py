"""Subjects: how those of events are made and taken apart, and what a pattern with wildcards covers."""

from typing import NamedTuple, Self

from jetmesh.event import EventType

MARKER = "ENDED"
"""The second token of a marker's subject, in place of an event's name. No event has a name in capitals."""


class Subject(NamedTuple):
    """Where an event is recorded: `<entity>.<event>.<key>`; without a key, where it is published from outside."""

    entity: str
    event: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """What a subject says; all that follows the second token is the key."""
        entity, _, rest = text.partition(".")
        event, _, key = rest.partition(".")
        return cls(entity, event, key)

    @property
    def type(self) -> str:
        """The type of the event: the first two tokens."""
        return f"{self.entity}.{self.event}"

    def __str__(self) -> str:
        return f"{self.type}.{self.key}" if self.key else self.type


def subject_of(event_type: EventType, key: str) -> str:
    """The subject that an event of this type about `key` is recorded on."""
    return f"{event_type.type}.{key}"


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
    return subject.split(".", 2)[1:2] == [MARKER]


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
