"""Load: events from outside at a steady rate, whatever the mesh does, and how long each step took.

Open loop: every event has its instant in the plan, and its latency counts from there. An event that goes in late
because the mesh was slow is slow; a driver that waits for the mesh would leave it out (coordinated omission).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from uuid import uuid4

from rich.table import Table

from jetmesh.cloudevents import cloud_event
from jetmesh.common.tables import sheet
from jetmesh.event import Event
from jetmesh.failure import Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.operate.books import Fact
from jetmesh.runtime.context import Context
from jetmesh.service import Service

LOADS = "jetmesh.loads"
"""Under this an app declares its `Load` (`jetmesh.app.added`)."""
CONCURRENCY = 1_024
PERCENTS = (50, 90, 95, 99, 100)

Item = TypeVar("Item")
Clicks = Mapping[str, float]
"""When the event of each key was to be published, Unix time in seconds."""


class Interval(NamedTuple):
    """What is measured: the type of event where it begins (none: the click), and that of the event where it ends."""

    name: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Load:
    """What `jetmesh load` publishes to an app, and what it measures."""

    events: Callable[[str, int, int], Iterable[Event]]
    """From the name of the run, a count and a seed: so many events from outside, the same for the same seed. Their keys
    begin with the name of the run, so that no two runs share one."""
    intervals: Sequence[Interval] = ()
    """By default from each event to each that a reaction may record because of it."""
    what: str = "stories"
    """What the app calls that which an event begins, in the plural."""
    beside: Callable[[Context], AbstractAsyncContextManager[object]] = nullcontext
    """Plays whoever outside the stories need besides, for as long as they go on."""


def intervals_of(services: Sequence[Service]) -> list[Interval]:
    """From each event, and from the click of those from outside, to each event that a reaction may record of it."""
    pairs = {
        ("" if reaction.takes_from_outside(cause) or reaction.listens else cause.type, outcome.type)
        for service in services
        for reaction in service.reactions
        for cause in reaction.events
        for outcome in reaction.outcomes
        if not outcome.state
    }
    return [Interval(f"{start or 'click'} → {end}", start, end) for start, end in sorted(pairs)]


async def drive(context: Context, events: Sequence[Event], rate: float) -> Clicks:
    """Publish each event at its instant, without waiting for those before it; returns once the broker has all."""
    began = time.time()
    clicks = {event.key: began + number / rate for number, event in enumerate(events)}
    async with asyncio.TaskGroup() as group:
        for event in events:
            await asyncio.sleep(max(0.0, clicks[event.key] - time.time()))
            group.create_task(publish(context, event))
    return clicks


async def publish(context: Context, event: Event) -> None:
    """Publish one event until the broker has it, each time under the same id: its owner recognises the repetition, also
    of one that it refused."""
    headers = cloud_event(
        type(event), event.key, event_id=str(uuid4()), correlation_id=event.key, causation_id="", trace={}
    )
    message = Message(event.type, event.model_dump_json().encode(), headers)
    while True:
        try:
            await context.publisher.record(message)
        except Unavailable as unavailable:
            await asyncio.sleep(unavailable.retry_after_seconds)
        else:
            return


async def publish_all(context: Context, events: Iterable[Event], published: Callable[[], None] = lambda: None) -> None:
    """Publish each event as fast as the broker takes them; returns once it has all. `published` is called for each."""

    async def place(event: Event) -> None:
        await publish(context, event)
        published()

    await at_once(place, events, CONCURRENCY)


async def at_once(do: Callable[[Item], Awaitable[None]], items: Iterable[Item], workers: int) -> None:
    """Do all items, so many at a time; raises the error of the first that failed."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def latencies(
    stories: Mapping[str, Mapping[str, Fact]], clicks: Clicks, steps: Sequence[Interval]
) -> dict[str, list[float]]:
    """The milliseconds of each step, in ascending order, of the keys that took it."""
    found = {}
    for step in steps:
        taken = []
        for key, clicked in clicks.items():
            story = stories.get(key, {})
            if step.end in story and (not step.start or step.start in story):
                since = story[step.start].unix_nano / 1e9 if step.start else clicked
                taken.append((story[step.end].unix_nano / 1e9 - since) * 1_000)
        found[step.name] = sorted(taken)
    return found


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The value that so many of a hundred do not exceed (nearest rank); 0 where there are none."""
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1) if ordered else 0.0


def figures(milliseconds: Sequence[float]) -> dict[str, float]:
    """The percentiles of one step."""
    return {f"p{percent}_ms": percentile(milliseconds, percent) for percent in PERCENTS}


def table(steps: Mapping[str, Sequence[float]], what: str) -> Table:
    """One row a step, latencies in milliseconds; `what` are those that took it."""
    shown = sheet("step, in ms", what, *(f"p{percent}" if percent < 100 else "max" for percent in PERCENTS))
    for name, taken in steps.items():
        shown.add_row(name, f"{len(taken):,}", *(f"{value:,.1f}" for value in figures(taken).values()))
    return shown
