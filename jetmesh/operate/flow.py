"""Who reacts to what, read from the signatures: as a table, and as a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jetmesh.service import Form, Reaction, Service


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the flow."""

    happened: str
    reaction: str
    meaning: str
    outcomes: str


def rows(services: Sequence[Service]) -> list[Row]:
    """Every reaction, service by service, in the order of declaration."""
    return [_row(reaction) for service in services for reaction in service.reactions]


def _row(reaction: Reaction) -> Row:
    events = ", ".join(event.type for event in reaction.events) or "everything"
    when = {Form.INTAKE: " from outside", Form.AFTER: f" + {_minutes(reaction)}"}.get(reaction.form, "")
    outcomes = " / ".join(event.type for event in reaction.outcomes) or "—"
    return Row(f"{events}{when}", f"{reaction.service}.{reaction.name}", reaction.meaning, outcomes)


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
    for reaction in (reaction for service in services for reaction in service.reactions if reaction.events):
        box = f'{reaction.service}_{reaction.name}["{reaction.service}.{reaction.name}"]'
        for event in reaction.events:
            outside = " from outside" if reaction.takes_from_outside(event) else ""
            yield f"    {_node(event.type, outside)} --> {box}"
        for outcome in reaction.outcomes:
            if not outcome.state:
                yield f"    {box} --> {_node(outcome.type)}"


def _node(event_type: str, outside: str = "") -> str:
    return f'{(event_type + outside).replace(".", "_").replace(" ", "_")}(["{event_type}{outside}"])'
