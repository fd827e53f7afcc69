"""What a service reports for alerts: how long it holds what, what is gone, whether it is ready, what expires when."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NoOpTracerProvider

from jetmesh import Rate
from jetmesh.jetstream import api, certificates
from jetmesh.process import gauges
from jetmesh.process.gauges import Gauges
from jetmesh.process.health import Health
from jetmesh.runtime.context import connect
from jetmesh.runtime.runner import Runner
from jetmesh.service import Service
from jetmesh.settings import Settings, read
from jetmesh.telemetry.spans import Telemetry
from jetmesh.testing import LocalMesh, until
from tests.support.jobs import Asked, Finished, work
from tests.support.tollgate import Bank, CarArrived, Gate, tollgate

Readings = dict[tuple[str, str], Any]


class Watched:
    """A service whose instruments are read by hand."""

    def __init__(self, runner: Runner, reader: InMemoryMetricReader) -> None:
        self.runner, self._reader = runner, reader

    def readings(self, name: str, label: str) -> dict[Any, float]:
        """The values of one instrument by a label."""
        data: Any = self._reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else ()
        points = [point for metric in metrics if metric.name == name for point in metric.data.data_points]
        return {point.attributes.get(label): point.value for point in points}


@asynccontextmanager
async def watched(mesh: LocalMesh, service: Service, gate: Gate | None) -> AsyncIterator[Watched]:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    telemetry = Telemetry(service.name, NoOpTracerProvider(), meters.get_meter("jetmesh"), lambda: None)
    async with connect(mesh.settings, telemetry, "gauges") as place:
        runner = Runner(place, service, mesh.services)
        asking = asyncio.create_task(Gauges(runner).watch())
        await runner.start(gate)
        yield Watched(runner, reader)
        asking.cancel()
        await runner.stop()
    meters.shutdown()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "POLL_SECONDS", 0.05)


async def test_an_old_message_that_has_just_come_has_not_been_held_for_long(mesh_of: Any) -> None:
    tolls, gate = tollgate(attempts=100), Gate(Bank(is_down=True))
    mesh = await mesh_of(tolls, dependencies=[gate], start=False)
    await mesh.record(CarArrived(plate="old"))
    await asyncio.sleep(1.1)  # the message gets older than the service will have held it
    async with watched(mesh, tolls, gate) as found:
        await until(lambda: len(found.runner.context.in_flight) == 1)
        ages = found.readings("jetmesh.deliveries.oldest.age", "messaging.consumer.group.name")
        assert 0 < ages["tolls-charge"] < 1


async def test_saying_that_a_delivery_is_in_progress_does_not_make_it_younger(mesh_of: Any) -> None:
    tolls, gate = tollgate(attempts=100), Gate(Bank(is_down=True))
    mesh = await mesh_of(tolls, dependencies=[gate], start=False, JETMESH_ACK_WAIT_SECONDS="1")
    await mesh.record(CarArrived(plate="held"))
    async with watched(mesh, tolls, gate) as found:
        in_flight = found.runner.context.in_flight
        await until(lambda: in_flight.oldest_seconds().get(("CARS", "tolls-charge"), 0) > 1.5)


async def test_what_waits_for_its_limit_is_counted(mesh_of: Any) -> None:
    service = work()

    @service.on(limit=Rate(1, per_seconds=3_600, burst=2))
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it, one an hour."""
        return Finished(job_id=asked.job_id)

    mesh = await mesh_of(service, start=False)
    for number in range(5):
        await mesh.record(Asked(job_id=f"j-{number}"))
    async with watched(mesh, service, None) as found:

        def reading(name: str) -> float:
            return found.readings(f"jetmesh.limit.{name}", "jetmesh.reaction").get("finish", 0)

        await until(lambda: (reading("waiting"), reading("passed")) == (3, 2))
        assert 1 <= reading("bundles") <= 2


async def test_a_durable_that_is_gone_is_reported_until_it_is_back(mesh_of: Any, fast: None) -> None:
    tolls, gate = tollgate(), Gate(Bank())
    mesh = await mesh_of(tolls, dependencies=[gate], start=False)
    async with watched(mesh, tolls, gate) as found:

        def missing() -> float:
            return found.readings("jetmesh.consumer.missing", "messaging.consumer.group.name")["tolls-charge"]

        assert missing() == 0
        await api.request(mesh.context.connection, "CONSUMER.DELETE.CARS.tolls-charge", strict=True)
        await until(lambda: missing() == 1)
        await mesh.apply()
        await until(lambda: missing() == 0)


async def test_the_broker_counts_the_dead_letters_that_wait_for_a_decision(mesh_of: Any) -> None:
    gate = Gate(Bank(blacklist={"stolen", "forged"}))
    mesh = await mesh_of(tollgate(), dependencies=[gate])

    async def waiting() -> int:
        info = await api.request(mesh.context.connection, "CONSUMER.INFO.DEAD_LETTERS.letters", strict=True)
        return int(info["num_pending"])

    assert await waiting() == 0
    for plate in ("stolen", "forged", "honest"):
        await mesh.record(CarArrived(plate=plate))
    first, _ = await mesh.dead_letters(2)
    assert await waiting() == 2
    removed = {"seq": first.sequence, "no_erase": True}
    await api.request(mesh.context.connection, "STREAM.MSG.DELETE.DEAD_LETTERS", removed, strict=True)
    assert await waiting() == 1


def test_a_service_that_waits_is_not_ready() -> None:
    reader = InMemoryMetricReader()
    health = Health("tolls")
    gauges.report_readiness(MeterProvider([reader]).get_meter("jetmesh"), health)
    found = Watched(None, reader)  # type: ignore[arg-type]
    assert found.readings("jetmesh.service.ready", "")[None] == 0
    health.ready()
    assert found.readings("jetmesh.service.ready", "")[None] == 1
    health.waiting("stopping")
    assert found.readings("jetmesh.service.ready", "")[None] == 0


@pytest.mark.parametrize("year", [2030, 2049, 2050, 2061])
def test_the_end_of_a_certificate_is_read_from_its_file(tmp_path: Path, year: int) -> None:
    ends = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    made = trustme.CA().issue_cert("localhost", not_after=ends)
    path = tmp_path / "client.pem"
    made.cert_chain_pems[0].write_to_path(str(path))
    found = certificates.ends(read(Settings, settings_of(path)), b"")
    assert found == {"client": ends.timestamp()}


@pytest.mark.parametrize("content", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_holds_no_certificate_has_no_end(tmp_path: Path, content: str) -> None:
    path = tmp_path / "client.pem"
    path.write_text(content)
    assert certificates.ends(read(Settings, settings_of(path)), b"\x30\x82") == {}


def settings_of(path: Path) -> Mapping[str, str]:
    return {"JETMESH_NATS_TLS_CERTIFICATE": str(path), "JETMESH_NATS_TLS_CA": str(path.with_name("none.pem"))}
