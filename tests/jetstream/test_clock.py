"""A wrong clock decides nothing: deadlines and pauses are counted in the broker's time, and the difference is told."""

import time
from datetime import UTC, datetime

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from jetmesh.failure import Retry
from jetmesh.jetstream import api
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.operate.doctor import CheckContext, Grade, run_checks
from jetmesh.process.gauges import Gauges
from jetmesh.runtime import broker_crash
from jetmesh.runtime.context import connect
from jetmesh.runtime.runner import Runner
from jetmesh.service import Service
from jetmesh.telemetry.spans import Telemetry
from jetmesh.testing import LocalMesh, MeshOf, until
from jetmesh.topology import provision
from tests.support.jobs import Asked, Failed, Finished, finishing_at_last, work

HOUR = 3_600.0
real_time = time.time


@pytest.fixture(params=[HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
def ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """How far the wall clock of this process is ahead of the broker's."""
    seconds = float(request.param)
    monkeypatch.setattr(time, "time", lambda: real_time() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: int((real_time() + seconds) * 1e9))
    return seconds


def giving_up(seconds: float) -> Service:
    """A service that begins each job, and gives it up after a while."""
    service = work()

    @service.begins
    async def begin(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        return Finished(job_id=asked.job_id)

    @service.after(seconds=seconds)
    async def give_up(finished: Finished) -> Failed:
        """A job was done long ago: it is not wanted any more."""
        return Failed(job_id=finished.job_id)

    return service


async def _waits(mesh: LocalMesh) -> bool:
    info = await api.request(mesh.context.connection, "CONSUMER.INFO.WORK.work-give_up")
    return bool(info["delivered"]["consumer_seq"])


@pytest.mark.usefixtures("ahead")
async def test_a_deadline_that_is_not_due_by_the_brokers_clock_waits(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(giving_up(900))
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")
    await until(lambda: _waits(mesh))
    await mesh.stop(mesh.services[0])
    assert await mesh.types("j-1") == {"jobs.asked", "work.finished"}


@pytest.mark.usefixtures("ahead")
async def test_a_deadline_that_is_due_by_the_brokers_clock_is_kept(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(giving_up(1))
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Failed, "j-1")


@pytest.mark.usefixtures("ahead")
async def test_what_is_set_aside_comes_back_by_the_brokers_clock(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(finishing_at_last([], 2.5))
    await mesh.record(Asked(job_id="j-1"))
    await mesh.recorded(Finished, "j-1")


async def test_a_service_says_that_its_clock_is_wrong_and_is_ready(
    mesh_of: MeshOf, ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = await mesh_of(giving_up(900))
    health = mesh.replicas[0].health
    assert health.why_not == ""
    way = "ahead of" if ahead > 0 else "behind"
    assert f" s {way} the broker's, whose time is used instead" in health.remarks()["clock"]
    assert "3600." in health.remarks()["clock"] or "3599." in health.remarks()["clock"]
    await until(lambda: f" s {way} the broker's" in caplog.text)
    context = CheckContext(mesh.context.connection, mesh.services, mesh.settings)
    wrong = {f.topic: f async for f in run_checks(context) if f.grade is Grade.WRONG}
    assert "the clock of the broker differs by 3,600," in wrong["clock"].found or "3,599," in wrong["clock"].found
    assert f"work: clock: 3600.0 s {way} the broker's" in wrong["services"].found
    assert "synchronise the clocks" in wrong["services"].fix


async def test_the_difference_is_measured(mesh_of: MeshOf, ahead: float) -> None:
    service = giving_up(900)
    mesh = await mesh_of(service, start=False)
    telemetry = Telemetry("work", NoOpTracerProvider(), NoOpMeterProvider().get_meter("jetmesh"), lambda: None)
    async with connect(mesh.settings, telemetry, "gauges") as place:
        runner = Runner(place, service, mesh.services)
        gauges = Gauges(runner)
        assert gauges._clock() == []
        await provision.check(place.connection, runner.consumers)
        (measured,) = gauges._clock()
        assert abs(measured.value - ahead) < 1
        assert abs(place.connection.clock.now() - real_time()) < 1


def test_what_was_stored_before_the_broker_was_back_is_told_by_the_brokers_clock(
    ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_crash, "ALL_SECONDS", -1.0)
    connection, at, now = Connection(), time.monotonic(), real_time()
    connection.clock.learn(datetime.fromtimestamp(now, UTC).isoformat(), at, at)
    put_off = broker_crash.Doubt(connection)
    connection.reconnected()
    before, after = (RawDelivery("a.b", b"", b"", "", "A", n, 1, now + 60 * n) for n in (-1, 1))
    assert put_off.puts_off(before, Retry())
    assert not put_off.puts_off(after, Retry())


def test_the_most_exact_answer_counts_until_the_broker_sets_its_clock() -> None:
    clock = BrokerClock()
    assert not clock.is_known
    base = time.monotonic()
    told = datetime.fromtimestamp(1_000_000, UTC)
    clock.learn(told.isoformat(), base - 0.001, base + 0.001)
    clock.learn("1970-01-12T13:46:41Z", base - 2, base + 2)
    assert abs(clock.now() - 1_000_000) < 0.5, "one that took seconds tells nothing new"
    clock.learn("1970-01-12T14:46:40Z", base - 2, base + 2)
    assert abs(clock.now() - 1_003_600) < 1, "it can't be as late as that: the broker's clock was set"


@pytest.mark.usefixtures("ahead")
async def test_the_archives_age_is_counted_by_the_brokers_clock(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(giving_up(900), start=False)
    now = await api.broker_time(mesh.context.connection, "DEAD_LETTERS")
    assert abs(now.timestamp() - real_time()) < 1
