"""Attempts of one process that are about the same key at the same time: what one of them records, the others know."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence

from jetmesh.jetstream.direct_get import Stored, last_sequence

RECORDED_MAX = 64


class SameKey:
    """The attempts about one key: how many there are, whether one of them records now, and what they have recorded."""

    __slots__ = ("attempts", "recorded", "recording")

    def __init__(self) -> None:
        self.attempts = 0
        self.recording: asyncio.Event | None = None
        """Set when the one that records now knows what became of it."""
        self.recorded: deque[tuple[int, Stored]] = deque(maxlen=RECORDED_MAX)
        """Each event with the sequence that its guard expected: nothing stands between the two."""

    async def turn(self) -> None:
        """Wait while one of them records: whoever records meanwhile is refused."""
        while self.recording is not None:
            await self.recording.wait()

    def since(self, stored: Sequence[Stored], but_not: Collection[str] = ()) -> Sequence[Stored]:
        """A story as it was read, and what the others have recorded right after it; but not beyond an event of one of
        these types, which must be read."""
        for expected, event in self.recorded:
            if expected == last_sequence(stored) and event.type not in but_not:
                stored = (*(message for message in stored if message.subject != event.subject), event)
        return stored


class SameKeys:
    """The keys that attempts are about now, by the subject of their guard."""

    def __init__(self) -> None:
        self._keys: dict[str, SameKey] = {}

    def __getitem__(self, subject: str) -> SameKey:
        return self._keys[subject]

    def enter(self, subject: str) -> SameKey:
        """An attempt about the key begins."""
        same = self._keys.get(subject)
        if same is None:
            same = self._keys[subject] = SameKey()
        same.attempts += 1
        return same

    def leave(self, subject: str) -> None:
        """It has ended."""
        same = self._keys[subject]
        same.attempts -= 1
        if not same.attempts:
            del self._keys[subject]

    def forget_all(self) -> None:
        """The streams may be others now, with other events under the same sequences."""
        for same in self._keys.values():
            same.recorded.clear()
