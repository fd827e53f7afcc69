"""What of a story is still to be handled: by which reaction, and what it waits for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.console.attempts import SeenAttempt, last_attempts
from jetmesh.console.desk import Desk
from jetmesh.console.state import cells
from jetmesh.jetstream.api import request as ask
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord
from jetmesh.topology.streams import Consumer, ConsumerKind, topology

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Unhandled:
    """A delivery that its reaction has not settled, and how far it is."""

    reaction: str
    event: StoryEvent
    words: str


async def unhandled(desk: Desk, events: Sequence[StoryEvent], spans: Sequence[SpanRecord]) -> list[Unhandled]:
    """The deliveries of these events that are not handled, the oldest first. Of one that is in flight the spans alone
    tell whether it was settled before an earlier one."""
    readers = _readers(desk, events)
    infos = await asyncio.gather(
        *(ask(desk.link.context.connection, f"CONSUMER.INFO.{each.stream}.{each.durable}") for each in readers)
    )
    tried = last_attempts(spans)
    found = [
        Unhandled(consumer.whose, event, words)
        for (consumer, taken), info in zip(readers.items(), infos, strict=True)
        if info
        for event in taken
        if (
            words := _words(info, event, tried.get((consumer.whose, (event.stream, event.sequence))), known=bool(spans))
        )
    ]
    return await _with_states(desk, sorted(found, key=lambda each: each.event.time)[:SHOWN])


def _readers(desk: Desk, events: Sequence[StoryEvent]) -> dict[Consumer, list[StoryEvent]]:
    """The durables of reactions that take some of these events."""
    takes = {
        (reaction.service, reaction.name): {event.type for event in reaction.events}
        for service in desk.services
        for reaction in service.reactions
    }
    found: dict[Consumer, list[StoryEvent]] = {}
    for consumer in topology(desk.services, split=desk.link.context.settings.split).consumers:
        types = takes.get((consumer.service, consumer.reaction), set())
        mine = [event for event in events if event.stream == consumer.stream and event.type in types]
        if mine and consumer.kind is ConsumerKind.WORK:
            found[consumer] = [event for event in mine if not event.archived]
    return found


def _words(info: Mapping[str, Any], event: StoryEvent, last: SeenAttempt | None, *, known: bool) -> str:
    """How far a delivery is; empty where it is handled, or may be."""
    if event.sequence <= info["ack_floor"]["stream_seq"]:
        return ""
    if event.sequence > info["delivered"]["stream_seq"]:
        return "it waits to be delivered"
    if last is None:
        return "it is in flight" if known else ""
    return f"attempt {last.number} failed, and another one follows" if last.reason else ""


async def _with_states(desk: Desk, found: Sequence[Unhandled]) -> list[Unhandled]:
    """The same, with what is wrong with the reactions."""
    states = cells(await desk.watch.now()) if found else {}
    return [
        Unhandled(each.reaction, each.event, f"{each.words}; {state['words']}")
        if (state := states.get(each.reaction)) and state["state"] != "good"
        else each
        for each in found
    ]
