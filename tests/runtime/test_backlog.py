"""A backlog of one reaction does not delay another one, and its urgent types don't wait behind its own backlog: each
has a durable and slots of its own."""

import asyncio
from collections.abc import Callable

import pytest

from jetmesh import Service
from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Dropped, Finished, Noted, work

BACKLOG, SLOTS = 300, 16
ORDINARY, URGENT = 10_000, 50


async def test_what_is_urgent_is_handled_beside_a_backlog_that_does_not_move(mesh_of: MeshOf) -> None:
    service, go_on, begun = work(), asyncio.Event(), 0

    @service.on
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it when the others let it."""
        nonlocal begun
        begun += 1
        await go_on.wait()
        return Finished(job_id=asked.job_id)

    @service.on
    async def note(dropped: Dropped) -> Noted:
        """Nobody wants a job any more: note that at once."""
        return Noted(job_id=dropped.job_id)

    mesh = await mesh_of(service, JETMESH_SLOTS=str(SLOTS))
    await asyncio.gather(*(mesh.record(Asked(job_id=f"j-{number}")) for number in range(BACKLOG)))
    await mesh.until(lambda: begun == SLOTS)
    await mesh.record(Dropped(job_id="urgent"))
    await mesh.recorded(Noted, "urgent")
    assert begun == SLOTS
    go_on.set()
    await mesh.recorded(Finished, f"j-{BACKLOG - 1}", 60)
    await mesh.settled(60)


def two_reactions(handled: list[str]) -> Service:
    """One for each type."""
    service = work()

    @service.on
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        handled.append(asked.type)
        return Finished(job_id=asked.job_id)

    @service.on
    async def note(dropped: Dropped) -> Noted:
        """Nobody wants a job any more: note that."""
        handled.append(dropped.type)
        return Noted(job_id=dropped.job_id)

    return service


def urgent_types(handled: list[str]) -> Service:
    """One for both types, one of which is urgent."""
    return one_reaction(handled, Dropped)


def one_reaction(handled: list[str], *urgent: type[Dropped]) -> Service:
    """One for both types."""
    service = work()

    async def handle(job: Asked | Dropped) -> Finished | Noted:
        """Something is said about a job: do it, or note it."""
        handled.append(job.type)
        return Finished(job_id=job.job_id) if isinstance(job, Asked) else Noted(job_id=job.job_id)

    service.on(**({"urgent": urgent} if urgent else {}))(handle)  # type: ignore[call-overload]
    return service


async def overtaken(mesh_of: MeshOf, service: Service, handled: list[str]) -> int:
    """How many ordinary deliveries begin between the recording of the urgent ones and the last of them."""
    mesh = await mesh_of(service, start=False, JETMESH_SLOTS=str(SLOTS))
    await asyncio.gather(*(mesh.record(Asked(job_id=f"j-{number}")) for number in range(ORDINARY)))
    await mesh.start(service)
    await mesh.until(lambda: handled)
    before = len(handled)
    await asyncio.gather(*(mesh.record(Dropped(job_id=f"u-{number}")) for number in range(URGENT)))
    await mesh.until(lambda: handled.count(Dropped.type) >= URGENT, 60)
    last = len(handled) - 1 - handled[::-1].index(Dropped.type)
    return handled[before:last].count(Asked.type)


@pytest.mark.parametrize(("declared", "waits"), [(two_reactions, False), (urgent_types, False), (one_reaction, True)])
async def test_urgent_events_go_first_where_they_are_declared_or_have_a_reaction_of_their_own(
    mesh_of: MeshOf, declared: Callable[[list[str]], Service], waits: bool
) -> None:
    """Counted, not timed: within one reaction that declares nothing the whole backlog goes first."""
    handled: list[str] = []
    behind = await overtaken(mesh_of, declared(handled), handled)
    assert handled.count(Dropped.type) == URGENT
    assert behind > ORDINARY * 3 // 4 if waits else behind < 20 * URGENT
