"""`jetmesh top` and the mesh's own metrics tell what a running mesh does."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NoOpTracerProvider
from rich.console import Console

from jetmesh import Rate
from jetmesh.commands.top import picture
from jetmesh.operate.overview import Lag, Overview, ReactionRow, Readings, StreamState, look
from jetmesh.outcome import DeadLettered, EventsRecorded
from jetmesh.process.gauges import Gauges
from jetmesh.runtime.context import connect
from jetmesh.runtime.runner import Runner
from jetmesh.telemetry.reaction_stats import ReactionStats
from jetmesh.telemetry.spans import Telemetry
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.support.jobs import Asked, Finished, work
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate


def _row(overview: Overview, name: str) -> ReactionRow:
    return next(row for row in overview.rows if row.name == name)


async def _outage(mesh: LocalMesh, count: int) -> None:
    await asyncio.gather(*(mesh.record(CarArrived(plate=f"car-{number}")) for number in range(count)))

    async def is_open() -> bool:
        return _row(await look(mesh.context.connection, mesh.services), "charge").breaker != "closed"

    await until(is_open)


async def test_a_look_counts_what_was_handled_what_failed_and_what_is_dead(mesh_of: MeshOf) -> None:
    tolls, bank = tollgate(), Bank(blacklist={"car-2"})
    mesh = await mesh_of(tolls, dependencies=[Gate(bank)])
    readings = Readings(mesh.context.connection, mesh.services)
    before = await readings.read()
    for plate in ("car-1", "car-2"):
        await mesh.record(CarArrived(plate=plate))
    await mesh.dead_letters(1)
    await mesh.recorded(TollPaid, "car-1")
    await mesh.settled()
    row = _row(after := await readings.read(before), "charge")
    assert row.settled_per_second
    assert min(row.attempts_per_second, row.failed_per_second, row.p50_ms, row.p95_ms) > 0
    assert (row.lag.handled, row.dead_letters, after.dead_letters) == (2, 1, 1)
    assert (after.instances, after.missing) == ({"tolls": 1}, ())
    await mesh.record(CarArrived(plate="car-3"))
    assert (await readings.read(after)).letters is after.letters
    bank.blacklist.add("car-4")
    await mesh.record(CarArrived(plate="car-4"))
    await mesh.dead_letters(2)
    assert (await readings.read(after)).dead_letters == 2


async def test_an_open_circuit_breaker_and_the_lag_behind_it_are_seen(mesh_of: MeshOf) -> None:
    tolls = tollgate(attempts=100)
    mesh = await mesh_of(tolls, dependencies=[Gate(Bank(is_down=True))])
    await _outage(mesh, 20)
    overview = await look(mesh.context.connection, mesh.services)
    assert overview.breakers["tolls/bank"].endswith("Unavailable: the bank does not answer")
    assert _row(overview, "charge").lag.ack_pending == 20
    health = json.loads(await mesh.context.connection.ask("jetmesh.tolls.health", b""))
    assert health["ready"]
    assert "bank" in health["notes"]


async def test_what_does_not_answer_is_named(mesh_of: MeshOf) -> None:
    tolls = tollgate()
    mesh = await mesh_of(tolls, dependencies=[Gate(Bank())], start=False)
    assert (await look(mesh.context.connection, [tolls])).missing == ("service tolls",)


async def test_the_gauges_report_a_mesh_in_an_outage(mesh_of: MeshOf) -> None:
    tolls = tollgate(attempts=100)
    mesh = await mesh_of(tolls, dependencies=[Gate(Bank(is_down=True))], start=False)
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    telemetry = Telemetry("tolls", NoOpTracerProvider(), meters.get_meter("jetmesh"), lambda: None)
    async with connect(mesh.settings, telemetry, "gauges") as place:
        runner = Runner(place, tolls, mesh.services)
        gauges = Gauges(runner)
        await runner.start(Gate(Bank(is_down=True)))
        await asyncio.gather(*(mesh.record(CarArrived(plate=f"car-{number}")) for number in range(20)))
        await until(runner.breakers.notes)
        polling = asyncio.create_task(gauges.watch())
        readings = await until(lambda: _complete(_readings(reader)))
        polling.cancel()
        await runner.stop()
    meters.shutdown()
    assert readings["jetmesh.circuit_breaker.state"] > 0
    assert readings["jetmesh.consumer.ack_pending"] == 20
    assert readings["jetmesh.deliveries.in_flight"] > 0
    assert readings["jetmesh.deliveries.oldest.age"] > 0
    assert readings["jetmesh.consumer.missing"] == 0
    assert readings["jetmesh.delivery.attempts"] >= 20
    assert readings["jetmesh.guard.refusals"] == 0


def _readings(reader: InMemoryMetricReader) -> Mapping[str, float]:
    """The largest value of each instrument."""
    data: Any = reader.get_metrics_data()
    found: dict[str, float] = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
        values = [point.value for point in metric.data.data_points if hasattr(point, "value")]
        found[metric.name] = max(values, default=0)
    return found


def _complete(readings: Mapping[str, float]) -> Mapping[str, float]:
    return readings if "jetmesh.consumer.ack_pending" in readings else {}


def test_a_tally_knows_rates_and_percentiles() -> None:
    stats = ReactionStats()
    for number in range(100):
        stats.add(EventsRecorded, "", 0.001 if number < 90 else 0.1, 1)
    stats.add(DeadLettered, "Permanent", 0.1, 3)
    minute = stats.last_minute()
    assert minute.p50_ms == pytest.approx(1, rel=0.1)
    assert minute.p95_ms == pytest.approx(100, rel=0.1)
    assert minute.attempts_per_second > minute.failed_per_second > 0
    assert (stats.dead_letters, stats.deliveries[3]) == ({"Permanent": 1}, 1)


async def test_what_waits_for_its_limit_is_seen(mesh_of: MeshOf) -> None:
    service = work()

    @service.on(limit=Rate(1, per_seconds=3_600))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, one an hour."""
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service)
    for number in range(4):
        await mesh.record(Asked(job_id=f"j-{number}"))

    async def waiting() -> bool:
        return _row(await look(mesh.context.connection, mesh.services), "finish").limit_waiting == 3

    await until(waiting)
    overview = await look(mesh.context.connection, mesh.services)
    console = Console(width=120, record=True, file=io.StringIO(), color_system=None)
    console.print(picture(overview, 120))
    assert "work.finish waits for its rate limit: 3 deliveries; the next begins in 3" in console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_fits_the_terminal(width: int) -> None:
    rows = [
        ReactionRow(
            "notifications", "apologize", Lag(123_456, 256, 12, 9), 1234.5, 0.25, None, 12.5, 3_364.0, 12, "half-open"
        )
    ]
    streams = [StreamState(f"NOTIFICATIONS_{n}", 1_234_567, 890_000_000, 9) for n in range(6)]
    breakers = {"notifications/smtp": "open: MailUnavailable: no SMTP server answers"}
    overview = Overview(0.0, tuple(rows), tuple(streams), {"notifications": 3}, breakers, 12, ("service orders",))
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    console.print(picture(overview, width))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for words in ("apologize", "123,456", "half-open", "12 dead letters", "service orders", "×3"):
        assert words in text


async def test_the_command_prints_one_picture_or_one_object(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    environment = {**os.environ, **mesh.environment, "JETMESH_APP": "tests.support.tollgate:SERVICES"}
    once = await _run(environment, "top", "--once")
    assert "charge" in once
    assert json.loads(await _run(environment, "top", "--json"))["instances"] == {"tolls": 1}


async def _run(environment: Mapping[str, str], *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jetmesh", *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode()
