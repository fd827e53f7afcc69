"""Reactions that are plain functions: they block nothing, are handled once, and a stop waits for them."""

import asyncio
import os
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from jetmesh import DeclarationError, Service, Snapshot
from jetmesh.testing import MeshOf, given
from tests.support import computing
from tests.support.computing import TOO_MUCH, Computed
from tests.support.jobs import Asked, Finished, Noted, Work, work

LONGER_THAN_ACK_WAIT_SECONDS = 2.5


class Driver:
    """Something that blocks, until it is let go on."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.calls = threading.Event(), threading.Event(), 0
        self.thread = ""

    def call(self, seconds: float | None = None) -> None:
        """Block."""
        self.calls += 1
        self.thread = threading.current_thread().name
        self.begun.set()
        self.go_on.wait(seconds)


@dataclass(frozen=True)
class Needs:
    """What the service needs."""

    driver: Driver
    seconds: float | None = None


def blocking() -> Service:
    """A service with a reaction that blocks, and one that does not."""
    service = Service("work", Needs)

    @service.on
    def finish(asked: Asked, needs: Needs) -> Finished:
        """Somebody wants a job done: block until it is."""
        needs.driver.call(needs.seconds)
        return Finished(job_id=asked.job_id)

    @service.on
    async def note(asked: Asked) -> Noted:
        """Somebody wants a job done: note it."""
        return Noted(job_id=asked.job_id)

    return service


async def begun(driver: Driver) -> None:
    """Return when the driver blocks."""
    assert await asyncio.to_thread(driver.begun.wait, 10)


async def test_what_blocks_runs_in_a_thread_and_the_others_go_on(mesh_of: MeshOf) -> None:
    driver = Driver()
    mesh = await mesh_of(blocking(), dependencies=[Needs(driver)])
    await mesh.record(Asked(job_id="j-1"))
    await begun(driver)
    await mesh.recorded(Noted, "j-1")
    assert await mesh.types("j-1") == {"jobs.asked", "work.noted"}
    driver.go_on.set()
    await mesh.recorded(Finished, "j-1")
    assert driver.thread.startswith("jetmesh-reaction")


async def test_what_takes_longer_than_the_ack_wait_is_not_delivered_again(mesh_of: MeshOf) -> None:
    driver = Driver()
    needs = Needs(driver, LONGER_THAN_ACK_WAIT_SECONDS)
    mesh = await mesh_of(blocking(), dependencies=[needs], JETMESH_ACK_WAIT_SECONDS="1")
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    await mesh.settled()
    assert driver.calls == 1


async def test_a_stop_waits_for_what_has_begun(mesh_of: MeshOf) -> None:
    driver, service = Driver(), blocking()
    mesh = await mesh_of(service, dependencies=[Needs(driver)])
    await mesh.record(Asked(job_id="j-1"))
    await begun(driver)
    stopping = asyncio.create_task(mesh.stop(service))
    await mesh.until(lambda: mesh.replicas == [], what="the stop has begun")
    assert not stopping.done()
    driver.go_on.set()
    await stopping
    await mesh.recorded(Finished, "j-1")


async def test_what_computes_runs_in_a_process_whose_death_is_a_failed_attempt(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(computing.service, JETMESH_POOL_PROCESSES="1")
    await mesh.record(Asked(job_id="j-1"))
    assert (await mesh.recorded(Computed, "j-1", 60)).pid != os.getpid()
    await mesh.record(Asked(job_id="j-2", effort=TOO_MUCH))
    (letter,) = await mesh.dead_letters(1, 60)
    assert letter.headers["Jetmesh-Reason"].startswith("a process of the pool ended in the midst of its work")
    await mesh.record(Asked(job_id="j-3"))
    await mesh.recorded(Computed, "j-3", 60)


service = work()


@service.on
def plain(asked: Asked, story: Work) -> Finished | None:
    """Somebody wants a job done: do it."""
    return None if story.finished else Finished(job_id=asked.job_id)


async def test_a_plain_function_has_scenarios_as_every_reaction() -> None:
    await given().when(plain, Asked(job_id="j-1")).then(Finished(job_id="j-1"))


async def is_async(asked: Asked) -> Finished:
    raise NotImplementedError


def takes_needs(asked: Asked, needs: Needs) -> Finished:
    raise NotImplementedError


def takes_many(asked: list[Asked], snapshot: Snapshot) -> list[Finished]:
    raise NotImplementedError


WRONG: list[tuple[Any, str, str, str]] = [
    (is_async, "on", "threads", r"is_async declares pool='threads' and is async; write `def`"),
    (
        takes_needs,
        "on",
        "processes",
        r"takes the dependencies of this process, and runs in another one; leave them",
    ),
    (takes_needs, "on", "fibres", r"declares pool='fibres'; write \"threads\" or \"processes\""),
    (takes_many, "on_many", "threads", r"takes a Snapshot, which is awaited, and is not async; write `async def`"),
]


@pytest.mark.parametrize(("function", "form", "pool", "words"), WRONG, ids=["async", "process", "pool", "snapshot"])
def test_what_can_not_run_there_names_the_function_and_the_fix(function: Any, form: str, pool: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        getattr(Service("work", Needs), form)(pool=pool)(function)
