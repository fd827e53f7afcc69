"""Decides whether a service's earlier events settle a delivery."""

from collections.abc import Sequence

from jetmesh.cloudevents import Envelope, encoded, read_event
from jetmesh.event import Event, id_field_of, is_milestone
from jetmesh.failure import Permanent
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import CloudEvents
from jetmesh.jetstream.message import Refused
from jetmesh.reaction import Reaction
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.recording import Recording
from jetmesh.runtime.stories import has_ended
from jetmesh.telemetry.spans import Attempt

SECOND = (
    "{key}: {type} was recorded before, from another cause, and a milestone is recorded once per key. If it happens "
    "many times about a key, declare it as an occurrence (`id_field=` or `occurrence=True`); if only the newest "
    "counts, as a state (`state=True`)"
)


class SecondMilestone(Permanent):
    """A milestone would be recorded a second time, from another cause."""

    def __init__(self, key: str, event_type: str) -> None:
        super().__init__(SECOND.format(key=key, type=event_type))


class Precedent:
    """Judges for one reaction. A reaction that takes the story judges itself, unless the story is archived."""

    def __init__(self, binding: Binding) -> None:
        self._form, self._decides_by_story = binding.reaction.form, binding.reaction.story is not None
        self._declared = frozenset(event.type for event in binding.reaction.outcomes)
        self._milestones = frozenset(event.type for event in binding.reaction.outcomes if is_milestone(event))
        self._event_id = Recording(binding).event_id
        self._is_one_fact = reads_one_milestone(binding.reaction)

    def settles(self, attempt: Attempt, stored: Sequence[Stored]) -> bool:
        """Whether the story leaves nothing to decide.

        Raises:
            Permanent: it contradicts what has come from outside; or a milestone would be recorded a second time.
        """
        event, envelope = attempt.event, attempt.envelope
        if has_ended(stored):
            return self._is_late(event)
        if stored and self._is_recorded(envelope, stored):
            return True
        if self._decides_by_story or not stored:
            return False
        if self._form.only_outside:
            return self._is_taken(event, envelope, stored)
        return self._is_done(envelope, [message for message in stored if message.type in self._milestones])

    def repeats(self, event: Event, envelope: Envelope, stored: Sequence[Stored]) -> bool:
        """Whether an event that was decided by the story is in it already: the delivery came again.

        Raises:
            Permanent: it is a milestone, and another cause has led to it before.
            Refused: the story is remembered without its causes; read it.
        """
        if type(event).state:
            return False
        same = [message for message in stored if message.type == type(event).type]
        if same and not same[0].headers:
            raise Refused(f"{same[0].subject} is recorded already; its cause must be read")
        return bool(same) and self._is_done(envelope, same)

    def _is_done(self, envelope: Envelope, milestones: Sequence[Stored]) -> bool:
        """Whether this cause has led to the milestones that are there; without any, whether the story settles it."""
        if not milestones:
            return self._form.begins
        is_duplicate = self._is_one_fact and milestones[0].key == envelope.key
        if is_duplicate or any(is_caused(message, envelope) for message in milestones):
            return True
        raise SecondMilestone(milestones[0].key, milestones[0].type)

    def _is_recorded(self, envelope: Envelope, stored: Sequence[Stored]) -> bool:
        """Whether another version recorded the outcome of this delivery, of a type that this one does not declare."""
        others = [message for message in stored if message.type not in self._declared]
        if not others:
            return False
        event_id = self._event_id(envelope)
        return any(message.headers.get(CloudEvents.ID) == event_id for message in others)

    def _is_late(self, event: Event) -> bool:
        """A delivery about an archived story is settled.

        Raises:
            Permanent: it would begin the story again. Its contents can't be compared any more, and it must not vanish.
        """
        if self._form.only_outside and not self._decides_by_story:
            raise Permanent(f"{event.key}: it has ended, and is archived; publish it under a new key")
        return True

    def _is_taken(self, event: Event, envelope: Envelope, stored: Sequence[Stored]) -> bool:
        """Whether a message from outside was recorded before: by an earlier delivery of it, with the same contents, or
        under the id that its publisher chose.

        Raises:
            Permanent: other contents stand under its key.
        """
        caused = [message for message in stored if message.headers.get(CloudEvents.CAUSATION_ID) == envelope.id]
        if any(message.headers.get(CloudEvents.BEGAN, envelope.began) == envelope.began for message in caused):
            return True
        same = next((message for message in stored if message.type == envelope.type), None)
        if same is None and not caused:
            raise Permanent(f"{event.key}: {stored[0].type} was recorded before; publish it under a new key")
        if same is not None and read_event(type(event), same.data) != event:
            raise Permanent(f"{event.key}: {envelope.type} was recorded before with other contents")
        return True


def reads_one_milestone(reaction: Reaction) -> bool:
    """Whether all that arrives about a key is one milestone of its owner: a second message is a duplicate, not another
    cause. From outside, or from a foreign stream, it may be another request."""
    is_own_key = not (reaction.about or reaction.form.only_outside or reaction.form.is_foreign)
    return is_own_key and len(reaction.events) == 1 and is_milestone(reaction.events[0])


def is_caused(message: Stored, envelope: Envelope) -> bool:
    """Whether what is recorded was caused by this delivery, or by the same one before."""
    return message.headers.get(CloudEvents.CAUSATION_ID) == encoded(envelope.id)


def require_same(event: Event, message: Stored) -> None:
    """Check that what is recorded under the id of an occurrence has its contents.

    Raises:
        Permanent: it has others.
    """
    if read_event(type(event), message.data) != event:
        raise Permanent(
            f"{message.subject} was recorded before with other contents: `{id_field_of(type(event))}` tells one "
            f"{type(event).type} of a key from another; publish it under a new one"
        )
