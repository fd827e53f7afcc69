"""What a service recorded, in memory, with the guard's rules: the stream of a story test."""

from collections.abc import Sequence

from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message, Refused
from jetmesh.jetstream.subject import covers


class Memory:
    """Stands where the recorder and the story reader stand: the guards hold as they do at the broker (10071)."""

    def __init__(self) -> None:
        self.messages: list[Stored] = []
        self._horizon: int | None = None

    def lag(self, sequence: int) -> None:
        """Answer readings as of `sequence`, like a replica that lags, until a guard finds out."""
        self._horizon = sequence

    async def record(self, message: Message, *, limited: bool = True) -> int:
        """Store one message. Raises Refused where its guard does not hold."""
        message.encoded(limited=limited)
        return await self.record_all([message])

    async def record_event(self, message: Message) -> int:
        """Store one event of a story."""
        return await self.record(message)

    async def record_all(self, messages: Sequence[Message]) -> int:
        """Store all messages or none; every guard is checked against what stood before."""
        for message in messages:
            self._check(message)
        for message in messages:
            at = len(self.messages) + 1
            self.messages.append(Stored(message.subject, at, "", dict(message.headers), message.data))
        return len(self.messages)

    async def last(self, _stream: str, subjects: Sequence[str]) -> list[Stored]:
        """The newest message of every subject that one of `subjects` names, oldest first."""
        seen = self.messages[: self._horizon]
        newest = {m.subject: m for m in seen if any(covers(subject, m.subject) for subject in subjects)}
        return sorted(newest.values(), key=lambda message: message.sequence)

    async def last_sequence(self, guarded: str, _subject: str) -> int:
        """The last sequence on `guarded`, as a leader knows it; a replica that lags has caught up by then."""
        self._horizon = None
        return self._last_on(guarded)

    def _check(self, message: Message) -> None:
        if message.guard is None:
            return
        last = self._last_on(message.guard.subject)
        if last != message.guard.sequence:
            self._horizon = None
            raise Refused(f"wrong last sequence: {last}", last)

    def _last_on(self, guarded: str) -> int:
        return max((m.sequence for m in self.messages if covers(guarded, m.subject)), default=0)
