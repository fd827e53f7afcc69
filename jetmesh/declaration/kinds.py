"""What milestones, states and occurrences can keep, and so what a reaction may record and fold."""

from collections.abc import Iterator, Sequence

from jetmesh.declaration.annotations import folded, names
from jetmesh.declaration.signature import Mistake
from jetmesh.event import EventType, entity_of, id_field_of, is_occurrence
from jetmesh.reaction import Reaction


def kinds(reaction: Reaction, returned: Sequence[Sequence[EventType]]) -> Iterator[Mistake]:
    """What is wrong with the kinds of events that a reaction returns and folds."""
    if reaction.form.is_joint:
        yield from _ids(reaction)
    elif not reaction.form.keeps_all:
        yield from _occurrences(reaction)
        for together in () if reaction.form.begins else returned:
            yield from _states(reaction, together)


def _ids(reaction: Reaction) -> Iterator[Mistake]:
    """Of many causes, none tells one occurrence from another."""
    if unnamed := [event for event in reaction.outcomes if is_occurrence(event) and not id_field_of(event)]:
        yield (
            f"returns {names(unnamed)}, whose id is made of its cause, and takes many",
            f"declare `id_field=` on {unnamed[0].__name__}: the field that tells one from another",
        )


def _occurrences(reaction: Reaction) -> Iterator[Mistake]:
    many_times = [event for event in reaction.outcomes if is_occurrence(event)]
    if many_times and reaction.form.begins and not reaction.form.only_outside:
        yield (
            f"begins a story with {names(many_times)}, which happens many times",
            "declare it with `@service.on`: an occurrence is recorded once without a story",
        )
    if read := [event for event in folded(reaction.story) if is_occurrence(event)]:
        yield (
            f"decides by a fold of {names(read)}, and a story has no occurrences",
            "count them in a state (`state=True`) that is recorded with each, or decide with `@service.on_many`",
        )


def _states(reaction: Reaction, together: Sequence[EventType]) -> Iterator[Mistake]:
    """A state is recorded with something beside it that says what it has counted."""
    states = [event for event in together if event.state]
    if states and len(states) == len(together):
        yield (
            f"returns the state {names(states)} alone: a delivery that comes again would change it again",
            f"return `tuple[…, {states[0].__name__}]` with an occurrence or a milestone that is recorded once",
        )
    if elsewhere := [event for event in states if entity_of(event) != reaction.entity]:
        yield (
            f"returns the state {names(elsewhere)}, and reads the story of {reaction.entity}",
            "read it through the Snapshot of a reaction to many (`@service.on_many`)",
        )
