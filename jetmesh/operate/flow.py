"""The flow of events, read from the signatures: as a table, as a flowchart, and as a test whether a key is done."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from jetmesh.event import EventType
from jetmesh.foreign import Listens
from jetmesh.reaction import Reaction
from jetmesh.service import Service


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One line of the flow."""

    happened: str
    reaction: str
    meaning: str
    outcomes: str


def rows(services: Sequence[Service]) -> list[FlowRow]:
    """Every reaction, service by service, in the order of declaration."""
    return [_row(reaction) for service in services for reaction in service.reactions]


def _row(reaction: Reaction) -> FlowRow:
    events = ", ".join(_happened(reaction)) or str(reaction.schedule or "everything")
    outcomes = " / ".join(event.type for event in reaction.outcomes) or "—"
    return FlowRow(f"{events}{_when(reaction)}", f"{reaction.service}.{reaction.name}", reaction.meaning, outcomes)


def _when(reaction: Reaction) -> str:
    if reaction.listens:
        return f" in {reaction.listens.stream}"
    if reaction.at:
        return f" at `{reaction.at}`"
    return " from outside" if reaction.form.only_outside else f" + {_minutes(reaction)}" if reaction.delay else ""


def _happened(reaction: Reaction) -> list[str]:
    """What a reaction takes: types of events, or the subject of a foreign stream."""
    return [reaction.listens.pattern] if reaction.listens else [event.type for event in reaction.events]


def _minutes(reaction: Reaction) -> str:
    seconds = reaction.delay.total_seconds() if reaction.delay else 0
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def markdown(services: Sequence[Service]) -> str:
    """The flow as a Markdown table."""
    lines = ["| what happened | who reacts | what may happen next |", "|---|---|---|"]
    lines += [f"| {row.happened} | **{row.reaction}**: {row.meaning} | {row.outcomes} |" for row in rows(services)]
    return "\n".join(lines)


def mermaid(services: Sequence[Service]) -> str:
    """The flow as a Mermaid flowchart: events are rounded, reactions are boxes."""
    return "\n".join(["flowchart LR", *dict.fromkeys(_edges(services))])


def _edges(services: Sequence[Service]) -> Iterable[str]:
    for reaction in (reaction for service in services for reaction in service.reactions if reaction.arrives):
        box = f'{reaction.service}_{reaction.name}["{reaction.service}.{reaction.name}"]'
        if reaction.listens:
            yield f"    {_foreign(reaction.listens)} --> {box}"
        for event in () if reaction.listens else reaction.events:
            outside = " from outside" if reaction.takes_from_outside(event) else ""
            yield f"    {_node(event.type, outside)} --> {box}"
        if reaction.schedule:
            yield f'    {reaction.service}_{reaction.name}_schedule{{{{"{reaction.schedule}"}}}} --> {box}'
        for outcome in reaction.outcomes:
            if not outcome.state:
                yield f"    {box} --> {_node(outcome.type)}"


def _node(event_type: str, outside: str = "") -> str:
    return f'{(event_type + outside).replace(".", "_").replace(" ", "_")}(["{event_type}{outside}"])'


def _foreign(listens: Listens) -> str:
    return f'{listens.stream}_stream[("{listens.pattern} in {listens.stream}")]'


class Happened(Protocol):
    """An event about a key, with the id of its cause."""

    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def causation_id(self) -> str: ...


def is_over(services: Sequence[Service], story: Sequence[Happened]) -> bool:
    """Whether nothing follows any more from these events of one key: every service with a part in it has recorded an
    ending, and every reaction that must answer has answered."""
    types = {event.type for event in story}
    parts = [service for service in services if types & _types(service.records)]
    ended = {service.name for service in parts if types & _types(service.endings)}
    reactions = [reaction for service in services for reaction in service.reactions]
    waits = any(_waits(reaction, story, ended) for reaction in reactions if reaction.outcomes)
    return bool(parts) and len(ended) == len(parts) and not waits


def _waits(reaction: Reaction, story: Sequence[Happened], ended: Container[str]) -> bool:
    """Whether the reaction has still to answer one of the events. It need not after an ending of its service."""
    if reaction.listens:
        return False
    if reaction.is_optional and reaction.service in ended:
        return False
    inside = _types(event for event in reaction.events if not reaction.takes_from_outside(event))
    outcomes = _types(reaction.outcomes)
    answered = {event.causation_id for event in story if event.type in outcomes}
    return any(event.type in inside and event.id not in answered for event in story)


def _types(events: Iterable[EventType]) -> set[str]:
    return {event.type for event in events}
