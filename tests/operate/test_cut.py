"""The cut of a backup: whatever is in it has its causes in it, and nothing that was there before it began is left
out."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from jetmesh.operate.backup import cut
from jetmesh.operate.backup.cut import CausedMessage, closed
from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Finished, work

STREAMS = ("A", "B", "C")


class Event(NamedTuple):
    """One of a history, in the order in which they were stored."""

    stream: str
    cause: int | None


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events that each have an earlier one as their cause, or none."""
    count = draw(st.integers(1, 40))
    return [
        Event(draw(st.sampled_from(STREAMS)), draw(st.none() | st.integers(0, number - 1)) if number else None)
        for number in range(count)
    ]


def facts_of(events: Sequence[Event]) -> list[CausedMessage]:
    counts = dict.fromkeys(STREAMS, 0)
    facts = []
    for number, event in enumerate(events):
        counts[event.stream] += 1
        cause = "" if event.cause is None else f"e-{event.cause}"
        facts.append(CausedMessage((event.stream, counts[event.stream]), f"e-{number}", cause))
    return facts


def vector(facts: Sequence[CausedMessage], times: Sequence[int]) -> dict[str, int]:
    """The last sequence of each stream, each read at its own time."""
    found = dict.fromkeys(STREAMS, 0)
    for stream, time in zip(STREAMS, times, strict=True):
        for fact in facts[:time]:
            if fact.position[0] == stream:
                found[stream] = fact.position[1]
    return found


@given(histories(), st.lists(st.integers(0, 40), min_size=12, max_size=12))
def test_the_cut_has_every_cause_and_all_that_was_there_when_it_began(events: list[Event], moments: list[int]) -> None:
    facts, times = facts_of(events), sorted(moments)
    early, floor, at, late = (vector(facts, times[start : start + 3]) for start in range(0, 12, 3))
    window = [fact for fact in facts if early[fact.position[0]] < fact.position[1] <= late[fact.position[0]]]
    kept = closed(at, window)
    places = {fact.id: fact.position for fact in facts}
    for fact in facts:
        stream, sequence = fact.position
        if fact.cause and sequence <= kept[stream]:
            where, number = places[str(fact.cause)]
            assert number <= kept[where], (fact, kept)
    assert all(floor[stream] <= kept[stream] <= at[stream] for stream in STREAMS)


async def test_a_cut_while_services_record_is_closed(mesh_of: MeshOf) -> None:
    service = work()

    @service.on
    async def finish(job: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=job.job_id)

    mesh = await mesh_of(service)
    ids = [f"j-{number}" for number in range(300)]

    async def ask() -> None:
        for job_id in ids:
            await mesh.record(Asked(job_id=job_id))

    asking = asyncio.create_task(ask())
    for _ in range(10):
        kept = await cut.make(mesh.context.connection, ["JOBS", "WORK"])
        facts = [fact for stream in kept for fact in await cut.read(mesh.context.connection, stream, 0, kept[stream])]
        known = {fact.id for fact in facts}
        assert {str(fact.cause) for fact in facts if fact.cause} <= known
    await asking
    await mesh.settled()
