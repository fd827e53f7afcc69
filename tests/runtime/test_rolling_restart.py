"""A rolling restart under load: at most deliveries in flight come again, and handled ones are acknowledged."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from jetmesh import Service, Snapshot
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.jetstream.pull import Pull
from jetmesh.runtime.runner import Runner
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, Work, work

JOBS, RESTARTS = 400, 4
SECONDS_A_JOB, SECONDS_BETWEEN_JOBS = 0.03, 0.004


class Witness:
    """What came, what came again, and what every replica had in flight when it was stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.came, self.came_again = 0, 0
        self.in_hand: list[int] = []
        take, stop = InFlight.take, Runner.stop

        def watched_take(in_flight: InFlight, delivery: RawDelivery, pull: Pull) -> bool:
            self.came += 1
            self.came_again += delivery.delivered > 1
            return take(in_flight, delivery, pull)

        async def watched_stop(runner: Runner) -> bool:
            self.in_hand.append(len(runner.context.in_flight))
            return await stop(runner)

        monkeypatch.setattr(InFlight, "take", watched_take)
        monkeypatch.setattr(Runner, "stop", watched_stop)


def one_by_one(handled: list[str]) -> Service:
    """A service that finishes each job by itself."""
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, which takes a while."""
        await asyncio.sleep(SECONDS_A_JOB)
        handled.append(asked.job_id)
        return Finished(job_id=asked.job_id)

    return service


def together(handled: list[str]) -> Service:
    """A service that finishes whatever waits."""
    service = work()

    @service.on_many
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Jobs are wanted: do them, which takes a while."""
        stories = await snapshot.stories(Work, Finished, [job.job_id for job in asked])
        await asyncio.sleep(SECONDS_A_JOB)
        done = [Finished(job_id=job.job_id) for job in asked if not stories[job.job_id].finished]
        handled.extend(finished.job_id for finished in done)
        return done

    return service


@pytest.mark.parametrize("form", [one_by_one, together])
async def test_at_most_what_was_in_hand_comes_again(
    form: Callable[[list[str]], Service], mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[str] = []
    service = form(handled)
    witness = Witness(monkeypatch)
    mesh = await mesh_of(service, start=False)
    replica = await mesh.start(service)
    asking = asyncio.create_task(ask(mesh))
    for number in range(1, RESTARTS + 1):
        share = number * JOBS // (RESTARTS + 1)
        await mesh.until(partial(is_reached, handled, share))
        successor = await mesh.start(service)
        await replica.stop()
        replica = successor
    await asking
    await mesh.settled()

    assert sorted(handled) == sorted(f"j-{number}" for number in range(JOBS))
    assert await mesh.count("WORK") == JOBS
    assert max(witness.in_hand) > 0
    assert witness.came_again <= sum(witness.in_hand)
    assert witness.came == JOBS + witness.came_again


def is_reached(handled: list[str], share: int) -> bool:
    """Whether so many jobs are done."""
    return len(handled) >= share


async def ask(mesh: LocalMesh) -> None:
    """A steady stream of jobs."""
    for number in range(JOBS):
        await mesh.record(Asked(job_id=f"j-{number}"))
        await asyncio.sleep(SECONDS_BETWEEN_JOBS)
