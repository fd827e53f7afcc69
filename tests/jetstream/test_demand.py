"""What a consumer may hold beyond its slots: only what is on its way to the broker, and only if the thread sleeps."""

import asyncio
from dataclasses import dataclass

import pytest

from jetmesh.jetstream import demand
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.demand import Demand, busy_of_this_thread
from jetmesh.jetstream.pull import Pull
from jetmesh.runtime import binding
from jetmesh.service import Service
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, work

SLOTS = 8


@dataclass
class Thread:
    """A thread whose time the test tells: `busy` seconds of the `now` seconds that it has been there."""

    now: float = 100.0
    busy: float = 0.0

    def goes_on(self, seconds: float, busy: float) -> None:
        """So many seconds pass, of which it is busy for a share."""
        self.now += seconds
        self.busy += busy * seconds


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    """The thread whose demand is grown."""
    told = Thread()
    monkeypatch.setattr(demand, "monotonic", lambda: told.now)
    return told


def grown(thread: Thread, *windows: tuple[float, float]) -> int:
    """What a demand is beyond its slots after windows of so many seconds, of which the thread is so busy."""
    asked = Demand(SLOTS, lambda: thread.busy)
    asked.grow()
    for seconds, busy in windows:
        thread.goes_on(seconds, busy)
        asked.grow()
    return asked.extra


def test_a_thread_that_sleeps_with_all_in_hand_may_hold_more(thread: Thread) -> None:
    assert grown(thread, (0.1, 0.5)) == SLOTS
    assert grown(thread, *[(0.1, 0.5)] * 10) == (demand.TIMES_MAX - 1) * SLOTS


@pytest.mark.parametrize(
    "window", [(0.1, 0.95), (0.01, 0.0), (2.0, 0.0)], ids=["it ran or waited for a processor", "too brief", "no burst"]
)
def test_otherwise_it_may_not(thread: Thread, window: tuple[float, float]) -> None:
    assert grown(thread, window) == 0


def test_where_nothing_tells_how_busy_it_is_slots_are_all(thread: Thread) -> None:
    asked = Demand(SLOTS, None)
    thread.goes_on(0.1, 0.0)
    asked.grow()
    assert asked.extra == 0


def test_a_thread_that_runs_is_busy_and_one_that_sleeps_is_not() -> None:
    with busy_of_this_thread() as busy:
        if busy is None:
            pytest.skip("no schedstat here")
        before = busy()
        while busy() == before:
            sum(range(100_000))


def test_a_kernel_that_keeps_no_such_time_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr("os.open", missing)
    with busy_of_this_thread() as busy:
        assert busy is None


async def holding(mesh: LocalMesh, asked: Demand, count: int) -> tuple[Pull, list[RawDelivery]]:
    """A pull of a durable with so many deliveries, which keeps what it gets."""
    for number in range(count):
        await mesh.record(Asked(job_id=f"j-{number}"))
    (consumer,) = (each for each in mesh.topology.consumers if each.durable == "work-finish")
    kept: list[RawDelivery] = []
    pull = Pull(mesh.context.connection, consumer.stream, consumer.durable, SLOTS, kept.append, demand=asked)
    await pull.start()
    return pull, kept


@pytest.mark.parametrize(("storing", "most"), [(0, SLOTS), (SLOTS, 2 * SLOTS), (100, 3 * SLOTS)])
async def test_it_holds_its_slots_and_what_it_is_storing(
    mesh_of: MeshOf, finishing: Service, storing: int, most: int
) -> None:
    """It asks anew once half of that is free. With 16 beyond the slots: none where nothing is being stored, as many as
    are, and never more than the 16."""
    mesh = await mesh_of(finishing, start=False)
    asked = Demand(SLOTS, None)
    pull, kept = await holding(mesh, asked, 5 * SLOTS)
    await mesh.until(lambda: len(kept) == SLOTS)
    asked.storing, asked.extra = storing, 2 * SLOTS
    for one in kept[:SLOTS]:
        pull.release(one)
    await mesh.until(lambda: 2 * pull.held > most)
    assert pull.held <= most
    await pull.stop()
    assert pull.held <= most


async def test_whatever_becomes_of_an_event_it_is_no_longer_being_stored(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, gate, began, made = work(), asyncio.Event(), list[str](), list[Demand]()

    def of_the_binding(slots: int, busy: demand.Busy | None) -> Demand:
        made.append(Demand(slots, busy))
        return made[-1]

    monkeypatch.setattr(binding, "Demand", of_the_binding)

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        began.append(asked.job_id)
        await gate.wait()
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    for number in (1, 2):
        await mesh.record(Asked(job_id=f"j-{number}"))
    await mesh.until(lambda: len(began) == 2)
    await mesh.record(Finished(job_id="j-1"))  # so that the guard refuses the one that is still to be decided
    gate.set()
    await mesh.settled()
    assert [each.storing for each in made] == [0]
