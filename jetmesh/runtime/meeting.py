"""Reactions of which two may be about one key at the same time, in one process: they do not race for its guard.

The broker would refuse the second one, which then reads the story and records again. It need not come to that: while
one records, whoever decides by the story waits, and decides by what is recorded then; whoever does not decide by it
goes on from what the other has recorded, under the same guard over the whole key. Between processes the broker decides.
"""

import asyncio
from collections.abc import Sequence

from jetmesh.event import Event
from jetmesh.jetstream.direct_get import Stored, last_sequence
from jetmesh.jetstream.message import Refused, Unknown
from jetmesh.jetstream.subject import story_subject, subject_of
from jetmesh.outcome import Outcome
from jetmesh.reaction import Reaction
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.single import Case, Single
from jetmesh.telemetry.spans import Attempt


class Meeting(Single):
    """Decides and records as `Single` does, one after the other of each key."""

    def __init__(self, binding: Binding, *, is_careful: bool) -> None:
        super().__init__(binding, is_careful=is_careful)
        self._same_keys = binding.context.same_keys
        self._declared = frozenset(event.type for event in self._reaction.outcomes)
        self._goes_on = self._story is None and not self._is_outside

    async def react(self, attempt: Attempt) -> Outcome:
        """Decide and record, beside others about the same key."""
        subject = story_subject(self._entity, self._key(attempt))
        same = self._same_keys.enter(subject)
        try:
            if self._story is not None:
                await same.turn()
            return await super().react(attempt)
        finally:
            self._same_keys.leave(subject)

    async def _read(self, case: Case) -> Sequence[Stored]:
        """The story, with what the others record about it now: whoever decides by it waits for that."""
        stored = await super()._read(case)
        if self._story is None:
            return stored
        same = self._same_keys[case.guarded]
        await same.turn()
        return same.since(stored)

    async def _record(self, case: Case, event: Event, stored: Sequence[Stored]) -> int:
        """Record after the others. What they have recorded since is of other types and of other causes, so it neither
        settles this attempt nor excludes its event."""
        same = self._same_keys[case.guarded]
        if self._goes_on:
            await same.turn()
            stored = same.since(stored, self._declared)
        same.recording = recording = asyncio.Event()
        try:
            sequence = await super()._record(case, event, stored)
        except (Refused, Unknown):
            same.recorded.clear()
            raise
        finally:
            same.recording = None
            recording.set()
        if same.attempts > 1:
            recorded = Stored(subject_of(type(event), case.key), sequence, "", {}, b"", event)
            same.recorded.append((last_sequence(stored), recorded))
        return sequence


def may_meet(reaction: Reaction) -> bool:
    """Whether another attempt about its key may record at the same time. What begins a story is refused where there is
    one."""
    return bool(reaction.outcomes) and not reaction.form.begins
