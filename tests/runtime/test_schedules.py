"""A reaction to the clock gets each time of its schedule once; what was missed is said, and made up for as declared."""

import importlib.resources
import itertools
import json
import logging
import time
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from jetmesh import App, DeclarationError, Service, Tick
from jetmesh.jetstream import api, stream_reader
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.message import Message
from jetmesh.runtime import scheduled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.context import context_on
from jetmesh.runtime.workers import worker_of
from jetmesh.schedule import STAMP, Missed
from jetmesh.settings import Settings
from jetmesh.telemetry.spans import Telemetry
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.testing.memory import Memory
from jetmesh.topology import accounts, names, nkeys, orphans
from jetmesh.topology.streams import topology
from tests.support.ledger import Closed, closing

EACH_SECOND = "* * * * * *"
TIMERS = "LEDGER_TIMERS"


async def closed(mesh: LocalMesh) -> list[Closed]:
    """All that was recorded, in the order of time."""
    stored = await stream_reader.read(mesh.context.connection, "LEDGER")
    return sorted((Closed.read(each.data) for each in stored), key=lambda each: each.at)


def time_of(each: Closed) -> datetime:
    """When it was due."""
    return datetime.strptime(each.at, STAMP).replace(tzinfo=UTC)


async def some(mesh: LocalMesh, count: int, after: datetime) -> list[Closed]:
    """The first that were due after a time, once there are so many."""
    found: list[Closed] = []

    async def enough() -> bool:
        found[:] = [each for each in await closed(mesh) if time_of(each) > after]
        return len(found) >= count

    await mesh.until(enough)
    return found


async def rewind(mesh: LocalMesh, seconds: float) -> datetime:
    """Let the note say that ticks were handed out up to so many seconds ago."""
    until = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds)
    await mesh.publish(names.handed_out("ledger", "close"), {"until": until.isoformat()})
    return until


async def test_each_time_is_handled_once_by_three_replicas(mesh_of: MeshOf) -> None:
    service = closing(EACH_SECOND)
    mesh = await mesh_of(service)
    await mesh.start(service)
    await mesh.start(service)
    found = await some(mesh, 4, datetime.fromtimestamp(0, UTC))
    steps = {time_of(later) - time_of(each) for each, later in itertools.pairwise(found)}
    assert steps == {timedelta(seconds=1)}
    assert {each.missed for each in found} == {0}
    schedules = await stream_reader.read(mesh.context.connection, TIMERS, names.schedule("ledger", "close"))
    assert len(schedules) == 1
    assert await mesh.dead_letters() == []


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
async def test_what_was_missed_is_said_and_made_up_for_as_declared(
    mesh_of: MeshOf, missed: Missed, caplog: pytest.LogCaptureFixture
) -> None:
    service = closing(EACH_SECOND, missed)
    mesh = await mesh_of(service)
    await mesh.stop(service)
    since = await rewind(mesh, scheduled.IN_TIME_SECONDS + 6)
    with caplog.at_level(logging.WARNING):
        await mesh.start(service)
        found = await some(mesh, 62, since)
    assert any("times of its schedule were missed" in record.getMessage() for record in caplog.records)
    late = [each for each in found if (time_of(each) - since).total_seconds() <= 6]
    if missed == "all":
        assert [time_of(each) for each in late] == [since + timedelta(seconds=n) for n in range(1, 7)]
        assert {each.missed for each in late} == {1}
    else:
        made_up = {each.missed for each in found} - {0}
        assert len(late) < 6
        assert made_up == set() if missed == "skip" else (len(made_up) == 1 and made_up.pop() >= 6)


async def test_after_an_outage_of_the_broker_the_one_tick_says_how_many_were_missed(
    mesh_of: MeshOf, nats_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled, "IN_TIME_SECONDS", 1.0)
    mesh = await mesh_of(closing(EACH_SECOND))
    await some(mesh, 1, datetime.fromtimestamp(0, UTC))
    nats_broker.kill()
    down = time.time()
    await mesh.until(lambda: time.time() > down + 4, what="four seconds without a broker")
    nats_broker.restart()

    async def said() -> bool:
        return any(each.missed >= 2 for each in await closed(mesh))

    await mesh.until(said)


async def test_a_schedule_is_there_again_when_its_stream_was_made_anew(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(closing(EACH_SECOND))
    await some(mesh, 1, datetime.fromtimestamp(0, UTC))
    await api.request(mesh.context.connection, f"STREAM.DELETE.{TIMERS}", strict=True)
    gone = datetime.now(UTC)
    await mesh.apply()
    await some(mesh, 2, gone + timedelta(seconds=2))


async def test_a_changed_schedule_counts_from_now_on_and_makes_nothing_up(mesh_of: MeshOf) -> None:
    before, after = closing("0 0 1 1 *"), closing(EACH_SECOND)
    mesh = await mesh_of(before)
    await mesh.stop(before)
    await rewind(mesh, 3600)
    began = datetime.now(UTC)
    changed = await mesh_of(after)
    found = await some(changed, 2, datetime.fromtimestamp(0, UTC))
    assert all(time_of(each) > began - timedelta(seconds=1) and not each.missed for each in found)


async def test_with_the_durable_of_a_removed_reaction_its_schedule_is_pruned(mesh_of: MeshOf) -> None:
    service = closing(EACH_SECOND)
    mesh = await mesh_of(service)
    await some(mesh, 1, datetime.fromtimestamp(0, UTC))
    await mesh.stop(service)
    connection = mesh.context.connection
    assert await orphans.remove(connection, orphans.Orphan(TIMERS, "ledger-close"))
    assert await stream_reader.read(connection, TIMERS, "timers.ledger.by-schedule.>") == []
    assert await stream_reader.read(connection, TIMERS, "wakes.>") == []


@pytest.mark.parametrize(
    ("woken", "again", "wanted"),
    [
        # The broker passes over 2:30 on the day on which the clocks go from 2 to 3; it is handed out ahead.
        ("2027-03-27T02:30:00+01:00", "2027-03-29T02:30:00+02:00", ["20270327T013000Z", "20270328T010000Z"]),
        # It wakes twice at 2:30 on the day on which they go back from 3 to 2; once is handed out.
        ("2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00", ["20271031T003000Z"]),
        ("2027-10-31T02:30:00+01:00", "2027-11-01T02:30:00+01:00", []),
    ],
    ids=["spring", "autumn", "autumn again"],
)
async def test_each_local_time_is_due_once_through_a_change_to_summer_time(
    woken: str, again: str, wanted: list[str]
) -> None:
    service = closing("30 2 * * *")
    memory = Memory(topology([service]))
    telemetry = Telemetry("ledger", NoOpTracerProvider(), NoOpMeterProvider().get_meter("jetmesh"), lambda: None)
    at = datetime.fromisoformat(woken)
    note = at - timedelta(hours=1) if at.isoformat() != "2027-10-31T02:30:00+01:00" else at - timedelta(minutes=59)
    async with context_on(await memory.connect(), Settings(), telemetry) as context:
        body = json.dumps({"until": note.astimezone(UTC).isoformat()})
        await context.publisher.record(Message(names.handed_out("ledger", "close"), body.encode(), {}))
        worker = worker_of(Binding(context, service, service.reactions[0]))
        headers = {Nats.SCHEDULE_NEXT: again}
        wake = RawDelivery(names.wakes("ledger", "close"), headers, b"", "", TIMERS, 1, 1, at.timestamp() + 0.2)
        worker.accept(wake)
        worker.accept(wake)
        await worker.drained()
    waiting = [each for each in memory.messages(TIMERS) if names.SCHEDULED not in each.subject]
    assert [Tick.read(each.data).id for each in waiting] == wanted


async def test_with_an_account_for_each_service_a_tick_comes_at_each_time(tmp_path: Path) -> None:
    service, keys, config = closing(EACH_SECOND), tmp_path / "keys", tmp_path / "nats-server.conf"
    config.write_text(accounts.configuration([service], nkeys.ensure(keys, nkeys.users([service]))))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        operator = {"NATS_URL": server.url, "JETMESH_NATS_NKEY_SEED": str(keys / "operator.nk")}
        async with LocalMesh(App([service]), [], operator) as mesh:
            for _ in range(2):
                await mesh.start(
                    service,
                    JETMESH_NATS_NKEY_SEED=str(keys / "ledger.nk"),
                    JETMESH_NATS_MICRO_NKEY_SEED=str(keys / "ledger-micro.nk"),
                    JETMESH_NATS_API_PREFIX=accounts.API_PREFIX,
                )
            found = await some(mesh, 3, datetime.fromtimestamp(0, UTC))
            assert {time_of(b) - time_of(a) for a, b in itertools.pairwise(found)} == {timedelta(seconds=1)}
            assert await mesh.dead_letters() == []


async def test_a_zone_that_the_broker_does_not_know_is_refused_with_the_reaction_and_the_fix(
    mesh_of: MeshOf, tmp_path: Path
) -> None:
    (tmp_path / "Mars").mkdir()
    rules = importlib.resources.files("tzdata.zoneinfo").joinpath("UTC").read_bytes()
    (tmp_path / "Mars" / "Olympus").write_bytes(rules)
    zoneinfo.reset_tzpath([tmp_path])
    try:
        service = Service("ledger")

        @service.every(EACH_SECOND, zone="Mars/Olympus")
        async def close(tick: Tick) -> Closed:
            """It is time: close the books."""
            return Closed(at=tick.id)

        mesh = await mesh_of(service, start=False)
        with pytest.raises(DeclarationError, match=r"ledger\.close declares zone='Mars/Olympus', which Python knows"):
            await mesh.start(service)
    finally:
        zoneinfo.reset_tzpath()
