"""What a restore undid while it was in hand is handled no more, whatever form its reaction has."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import AwareDatetime

from jetmesh import Recorded, Service, Snapshot
from jetmesh.history import Histories
from jetmesh.jetstream import api
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.jetstream.pull import Pull
from jetmesh.operate.backup.restore import Restoring
from jetmesh.operate.backup.take import Taking
from jetmesh.runtime import continuity, durable_watch
from jetmesh.testing import Broker, LocalMesh, MeshOf, Proxy
from tests.support.jobs import Asked, Finished, JobEvent, Noted, Work, work

KEPT, UNDONE, WAITING, LATER = "j-kept", "j-undone", "j-waiting", "j-later"
TOMORROW = datetime.now(UTC) + timedelta(days=1)


class Planned(JobEvent, type="jobs.planned"):
    """A job is to be done at a time."""

    at: AwareDatetime


class Bench:
    """What a reaction began with, in order; about the undone job it waits until it may go on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_go_on = asyncio.Event()

    async def begin(self, keys: Sequence[str]) -> None:
        self.begun += keys
        if UNDONE in keys:
            await self.may_go_on.wait()


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a service has learned of a restore."""
    event, learn = asyncio.Event(), Histories.learn

    def spy(self: Histories, configs: Mapping[str, Mapping[str, Any]]) -> None:
        learn(self, configs)
        if self.of("JOBS").restorations:
            event.set()

    monkeypatch.setattr(Histories, "learn", spy)
    return event


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the deliveries that a process took."""
    keys, take = list[str](), InFlight.take

    def spy(self: InFlight, delivery: RawDelivery, pull: Pull) -> bool:
        keys.append(delivery.key)
        return take(self, delivery, pull)

    monkeypatch.setattr(InFlight, "take", spy)
    return keys


class Blind:
    """While it may not look, a service does not find out what has become of its durables; `asked`: it wants to."""

    def __init__(self) -> None:
        self.may_look, self.asked = asyncio.Event(), asyncio.Event()
        self.may_look.set()

    async def request(self, connection: Any, call: str) -> Any:
        self.asked.set()
        await self.may_look.wait()
        return await api.request(connection, call)

    async def reconnected(self, proxy: Proxy) -> None:
        """Cut a service off, and wait until it is back, and does not know whether its durables are the same."""
        self.may_look.clear()
        self.asked.clear()
        proxy.cut()
        await self.asked.wait()


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Blind:
    one = Blind()
    monkeypatch.setattr(continuity, "request", one.request)
    return one


def desk() -> Service:
    """The service that plans jobs."""
    service = Service("jobs")

    @service.intake
    async def take(asked: Asked) -> Planned:
        """Somebody wants a job done: plan it."""
        return planned(asked.job_id)

    return service


def planned(key: str) -> Planned:
    return Planned(job_id=key, at=TOMORROW)


def one_by_one(bench: Bench) -> Service:
    service = work()

    @service.on
    async def finish(job: Planned, story: Work) -> Finished | None:
        """A job is planned: do it."""
        await bench.begin([job.job_id])
        return None if story.finished else Finished(job_id=job.job_id)

    return service


def together(bench: Bench) -> Service:
    service = work()

    @service.on_many
    async def finish(jobs: Sequence[Planned], snapshot: Snapshot) -> list[Finished]:
        """Jobs are planned: do them."""
        keys = [job.job_id for job in jobs]
        await snapshot.stories(Work, Finished, keys)
        await bench.begin(keys)
        return [Finished(job_id=key) for key in keys]

    return service


def kept(bench: Bench) -> Service:
    service = work()

    @service.on
    async def note(job: Planned) -> Noted:
        """A job is planned: note it."""
        return Noted(job_id=job.job_id)

    @service.sink
    async def finish(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        if jobs := [event.key for event in events if event.stream == "JOBS"]:
            await bench.begin(jobs)

    return service


async def backed_up(mesh: LocalMesh, folder: Path) -> None:
    """A backup of all that is there now."""
    await mesh.settled(timers=False)
    await Taking(mesh.context.connection, mesh.services, {}, folder, _silent).run()


async def emptied_and_restored(mesh: LocalMesh, folder: Path) -> None:
    """The broker loses every stream, and the backup is restored."""
    for name in await api.stream_names(mesh.context.connection):
        await api.request(mesh.context.connection, f"STREAM.DELETE.{name}", strict=True)
    await Restoring(mesh.context.connection, mesh.services, mesh.settings, folder, _silent).run(_nothing_is_wrong)


def _silent(_words: str) -> None:
    """Say nothing."""


async def _nothing_is_wrong() -> list[str]:
    return []


@pytest.mark.parametrize("form", [one_by_one, together, kept])
async def test_what_came_while_nobody_had_looked_is_not_begun_after_a_restore_undid_it(  # noqa: PLR0913  (fixtures)
    mesh_of: MeshOf, broker: Broker, tmp_path: Path, learned: asyncio.Event, taken: list[str], blind: Blind, form: Any
) -> None:
    bench, jobs = Bench(), desk()
    service = form(bench)
    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(jobs, service, start=False)
        replica = await mesh.start(service, NATS_URL=proxy.url, JETMESH_ACK_WAIT_SECONDS="1")
        await mesh.record(planned(KEPT))
        await mesh.until(lambda: bench.begun == [KEPT])
        await backed_up(mesh, tmp_path / "backup")
        await blind.reconnected(proxy)
        await mesh.record(planned(UNDONE))
        await mesh.until(lambda: UNDONE in taken)
        await emptied_and_restored(mesh, tmp_path / "backup")
        blind.may_look.set()
        await mesh.until(learned.is_set, 30)
        await mesh.record(planned(LATER))
        await mesh.until(lambda: LATER in bench.begun, 30)
        await mesh.settled()
        await replica.stop()
    assert UNDONE not in bench.begun
    assert await mesh.types(UNDONE) == set()


@pytest.mark.parametrize("form", [together, kept])
async def test_what_waited_for_the_next_batch_is_not_begun_after_a_restore_undid_it(
    mesh_of: MeshOf, tmp_path: Path, learned: asyncio.Event, taken: list[str], form: Any
) -> None:
    bench = Bench()
    mesh = await mesh_of(desk(), form(bench))
    await mesh.record(planned(KEPT))
    await mesh.until(lambda: bench.begun == [KEPT])
    await backed_up(mesh, tmp_path / "backup")
    await mesh.record(planned(UNDONE))
    await mesh.until(lambda: UNDONE in bench.begun)
    await mesh.record(planned(WAITING))
    await mesh.until(lambda: WAITING in taken)
    await emptied_and_restored(mesh, tmp_path / "backup")
    await mesh.until(learned.is_set, 30)
    bench.may_go_on.set()
    await mesh.record(planned(LATER))
    await mesh.until(lambda: LATER in bench.begun, 30)
    await mesh.settled()
    assert WAITING not in bench.begun
    assert await mesh.types(UNDONE) | await mesh.types(WAITING) == set()


async def test_what_waits_for_its_time_is_not_delayed_after_a_restore_undid_it(
    mesh_of: MeshOf, broker: Broker, tmp_path: Path, learned: asyncio.Event, taken: list[str], blind: Blind
) -> None:
    service = work()

    @service.at("at")
    async def finish(job: Planned, story: Work) -> Finished | None:
        """The time of a job has come: do it."""
        return None if story.finished else Finished(job_id=job.job_id)

    async with Proxy(broker.port) as proxy:
        mesh = await mesh_of(desk(), service, start=False)
        replica = await mesh.start(service, NATS_URL=proxy.url, JETMESH_ACK_WAIT_SECONDS="1")
        await mesh.record(planned(KEPT))
        await mesh.until(lambda: mesh.count("WORK_TIMERS"))
        await backed_up(mesh, tmp_path / "backup")
        await blind.reconnected(proxy)
        await mesh.record(planned(UNDONE))
        await mesh.until(lambda: UNDONE in taken)
        await emptied_and_restored(mesh, tmp_path / "backup")
        blind.may_look.set()
        await mesh.until(learned.is_set, 30)
        await mesh.record(planned(LATER))
        await mesh.settled(timers=False)
        await replica.stop()
    stream = "STREAM.INFO.WORK_TIMERS"
    info = await api.request(mesh.context.connection, stream, {"subjects_filter": ">"}, strict=True)
    assert len(info["state"]["subjects"]) == 2, "of the kept one and the later one"


async def test_a_durable_that_is_replaced_while_every_slot_is_taken_is_noticed(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch, blind: Blind
) -> None:
    monkeypatch.setattr(durable_watch, "POLL_SECONDS", 0.2)
    bench, jobs = Bench(), desk()
    mesh = await mesh_of(jobs, one_by_one(bench), JETMESH_SLOTS="1")
    await mesh.record(planned(UNDONE))
    await mesh.until(lambda: bench.begun == [UNDONE])
    blind.asked.clear()
    await api.request(mesh.context.connection, "STREAM.DELETE.JOBS", strict=True)
    await mesh.apply()
    await mesh.until(blind.asked.is_set)
    bench.may_go_on.set()
    await mesh.record(planned(LATER))
    await mesh.recorded(Finished, LATER)
    await mesh.settled()
    assert await mesh.types(UNDONE) == set()


async def test_a_sink_gets_nothing_of_a_restored_stream_before_it_knows_of_the_restore(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, handed = Service("books"), list[Recorded]()
    something = asyncio.Event()

    @service.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        handed.extend(events)
        something.set()

    async def looks_late(*arguments: Any) -> Any:
        if info := await api.request(*arguments):
            await asyncio.wait([asyncio.ensure_future(something.wait())], timeout=2.0)
        return info

    mesh = await mesh_of(desk(), service, start=False)
    await mesh.start(service)
    await mesh.record(planned(KEPT))
    await mesh.until(something.is_set)
    await backed_up(mesh, tmp_path / "backup")
    something.clear()
    monkeypatch.setattr(continuity, "request", looks_late)
    await emptied_and_restored(mesh, tmp_path / "backup")
    await mesh.until(something.is_set, 30)
    assert handed[-1].key == KEPT
    assert len(handed[-1].history.restorations) == 1
