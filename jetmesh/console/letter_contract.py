"""What the body of a dead letter is held against: the contract of its event, or the decoder of a foreign message."""

from dataclasses import replace

from jetmesh.console import body
from jetmesh.console.body import ShownBody
from jetmesh.console.desk import Desk
from jetmesh.event import EventType
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.subject import Subject
from jetmesh.operate.dead_letters import DeadLetter
from jetmesh.operate.foreign_messages import DecodedMessage, ForeignMessages


class LetterContract:
    """What is said of the bodies of one letter: the one that it has, and one that mends it."""

    def __init__(self, desk: Desk, letter: DeadLetter) -> None:
        self._foreign, self._letter = ForeignMessages(desk.services), letter
        self.is_foreign = letter.position[0] in self._foreign.subjects
        subject = Subject.parse(letter.source)
        self.event_type: EventType | None = None
        if not self.is_foreign:
            self.event_type, self.key = desk.event_type(subject.type), subject.key
        else:
            decoded = self._decoded(letter.data)
            self.event_type, self.key = (decoded.event_type, decoded.key) if decoded else (None, "")

    def complaints(self, data: bytes) -> list[str]:
        """What is wrong with a body, a sentence each."""
        if self.is_foreign:
            decoded = self._decoded(data)
            return [decoded.complaint] if decoded and decoded.complaint else []
        return body.complaints_of(data, self.event_type) if self.event_type else []

    def shown(self, data: bytes) -> ShownBody:
        """A body with what is wrong."""
        if not self.is_foreign:
            return body.shown(data, self.event_type)
        return replace(body.shown(data), complaints=self.complaints(data))

    def _decoded(self, data: bytes) -> DecodedMessage | None:
        """What the reaction that gave up makes of a body."""
        letter = self._letter
        stream, sequence = letter.position
        message = Stored(letter.source, sequence, letter.first_time.isoformat(), letter.original, data)
        found = self._foreign.decoded(stream, message)
        return next(
            (each for each in found if f"{each.reaction.service}.{each.reaction.name}" == letter.reaction), None
        )
