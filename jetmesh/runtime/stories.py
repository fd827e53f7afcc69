"""The stories that reactions decide by: read back as events, and remembered where this process recorded them."""

from collections.abc import Iterable, Sequence
from typing import Any

from jetmesh.cloudevents import read_event
from jetmesh.event import EventType
from jetmesh.failure import BrokenContract
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.subject import is_marker

STORIES_MAX = 16_384


class KnownStories:
    """The stories that this process recorded last, by the subject of their guard: they need not be read.

    Another replica may have gone on with a story meanwhile; the guard finds out, and the story is read then.
    """

    def __init__(self, stories_max: int = STORIES_MAX) -> None:
        self._stories: dict[str, tuple[Stored, ...]] = {}
        self._stories_max = stories_max

    def get(self, subject: str) -> tuple[Stored, ...] | None:
        """The story as it was last known; None if it is not known."""
        return self._stories.get(subject)

    def put(self, subject: str, story: Iterable[Stored]) -> None:
        """The story as it is now; the one that was put first is forgotten for it."""
        self._stories.pop(subject, None)
        self._stories[subject] = tuple(story)
        if len(self._stories) > self._stories_max:
            del self._stories[next(iter(self._stories))]

    def forget(self, subject: str) -> None:
        """Another process has gone on with the story."""
        self._stories.pop(subject, None)

    def forget_all(self) -> None:
        """The streams may be others now, with other events under the same sequences."""
        self._stories.clear()


def events_of(stored: Iterable[Stored], types: dict[str, EventType]) -> list[object]:
    """The events among the stored messages whose type is known, oldest first.

    Raises:
        BrokenContract: naming the one that can't be read.
    """
    known = [(types[message.type], message) for message in stored if message.type in types]
    try:
        return [message.event or event_type.read(message.data) for event_type, message in known]
    except ValueError:
        raise BrokenContract(f"the story can't be read: {_unreadable(known)}") from None


def folded(story: type | None, stored: Sequence[Stored], types: dict[str, EventType]) -> Any:
    """The events of known types among the stored messages, folded into a `story`; None where there is none to fold.

    Raises:
        BrokenContract: one of them can't be read.
    """
    if story is None:
        return None
    state = story()
    for event in events_of(stored, types) if stored else ():
        state = state.evolve(event)
    return state


def _unreadable(known: Iterable[tuple[EventType, Stored]]) -> str:
    for event_type, message in known:
        try:
            read_event(event_type, message.data)
        except BrokenContract as broken:
            return f"{message.subject}, at {message.sequence}: {broken}"
    return "nobody knows why"


def has_ended(stored: Iterable[Stored]) -> bool:
    """Whether the story is archived: nothing that comes about its key is to be decided any more."""
    for message in stored:  # noqa: SIM110  (a generator costs three calls more)
        if is_marker(message.subject):
            return True
    return False
