"""What of a story is still to be handled: by which reaction, and what it waits for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.console.attempts import SeenAttempt, last_attempts
from jetmesh.console.desk import Desk
from jetmesh.console.state import cells
from jetmesh.jetstream.api import request as ask
from jetmesh.jetstream.subject import covers
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord
from jetmesh.service import Service
from jetmesh.topology.partitions import Partitions
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
    taking = readers(desk.services, desk.link.context.settings.split, events)
    infos = await asyncio.gather(
        *(ask(desk.link.context.connection, f"CONSUMER.INFO.{each.stream}.{each.durable}") for each in taking)
    )
    tried = last_attempts(spans)
    found = [
        Unhandled(consumer.whose, event, words)
        for (consumer, taken), info in zip(taking.items(), infos, strict=True)
        if info
        for event in taken
        if (
            words := _words(info, event, tried.get((consumer.whose, (event.stream, event.sequence))), known=bool(spans))
        )
    ]
    return await _with_states(desk, sorted(found, key=lambda each: each.event.time)[:SHOWN])


def readers(
    services: Sequence[Service], split: Partitions, events: Sequence[StoryEvent]
) -> dict[Consumer, list[StoryEvent]]:
    """The durables of reactions that take some of these events from their streams. What a reaction takes from outside
    comes by the intake."""
    consumers = topology(services, split=split).consumers
    work = [each for each in consumers if each.reaction and each.kind is ConsumerKind.WORK]
    mine = {each: [event for event in events if _takes(each, event)] for each in work}
    return {each: taken for each, taken in mine.items() if taken}


def _takes(consumer: Consumer, event: StoryEvent) -> bool:
    if event.archived or event.stream != consumer.stream:
        return False
    subjects = (f"{event.type}.*", f"{event.type}.*.*")
    return any(covers(pattern, subject) for pattern in consumer.subjects for subject in subjects)


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
