"""The topology follows from the signatures; the broker is brought there without a loss, or a start is refused."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh import Recorded, provision
from jetmesh.commands import commands
from jetmesh.provision import Change, Drift
from jetmesh.service import Service
from jetmesh.testing import Broker, MeshOf
from jetmesh.topology import topology
from services.flow import SERVICES
from tests.runtime.jobs import Asked, Finished, work


@pytest.fixture
def finishing() -> Service:
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """Somebody wants a job done: do it."""
        return Finished(job_id=asked.job_id)

    return service


def test_streams_and_durables_follow_from_the_signatures() -> None:
    needed = topology(SERVICES)
    streams = {stream.name: stream.config["subjects"] for stream in needed.streams}
    assert streams["PAYMENTS"] == ["payments.*.*"]
    assert streams["INVENTORY"] == ["inventory.*.*", "stock.*.*"]
    assert streams["INTAKE"] == ["orders.*", "stock.*"]
    assert "dead.>" in streams["DEAD_LETTERS"]
    durables = {(consumer.stream, consumer.durable): consumer.subjects for consumer in needed.consumers}
    assert durables["ORDERS", "payments-authorize"] == ("orders.placed.*",)
    assert durables["PAYMENTS", "orders-promise"] == ("payments.authorized.*",)
    assert durables["INTAKE", "orders-intake"] == ("orders.*",)


async def test_a_plan_shows_what_apply_makes_and_nothing_afterwards(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    connection = mesh.mesh.connection
    steps = await provision.plan(connection, topology([*SERVICES]))
    assert {step.change for step in steps} == {Change.CREATE, Change.KEEP}
    await provision.apply(connection, steps)
    steps = await provision.plan(connection, topology([*SERVICES]))
    assert {step.change for step in steps} == {Change.KEEP}


async def _change(mesh: Any, stream: str, **fields: Any) -> None:
    info = await provision.request(mesh.mesh.connection, f"STREAM.INFO.{stream}")
    await provision.request(mesh.mesh.connection, f"STREAM.UPDATE.{stream}", {**info["config"], **fields}, strict=True)


async def test_what_an_operator_set_beside_our_fields_stays(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await _change(mesh, "WORK", description="an operator's words", discard="old")
    (step,) = [s for s in await provision.plan(mesh.mesh.connection, mesh.topology) if s.change is not Change.KEEP]
    assert str(step) == "update stream WORK\n    discard: 'old' -> 'new'"
    await mesh.apply()
    info = await provision.request(mesh.mesh.connection, "STREAM.INFO.WORK")
    assert (info["config"]["description"], info["config"]["discard"]) == ("an operator's words", "new")


async def test_what_would_lose_messages_is_refused_and_nothing_is_changed(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await _change(mesh, "WORK", subjects=["work.*.*", "labour.*.*"], discard="old")
    steps = await provision.plan(mesh.mesh.connection, mesh.topology)
    with pytest.raises(Drift, match=r"refuse stream WORK: the stream holds messages of labour\.\*\.\*"):
        await provision.apply(mesh.mesh.connection, steps)
    info = await provision.request(mesh.mesh.connection, "STREAM.INFO.WORK")
    assert info["config"]["discard"] == "old"


async def test_a_service_refuses_to_start_on_drift_with_the_difference(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    info = await provision.request(mesh.mesh.connection, "CONSUMER.INFO.JOBS.work-finish")
    body = {"stream_name": "JOBS", "config": {**info["config"], "max_ack_pending": 7}}
    await provision.request(mesh.mesh.connection, "CONSUMER.CREATE.JOBS.work-finish", body, strict=True)
    with pytest.raises(Drift) as drift:
        await mesh.start(finishing)
    assert "update consumer JOBS/work-finish\n    max_ack_pending: 7 -> 8192" in str(drift.value)
    assert "run `jetmesh topology apply`" in str(drift.value)


async def test_a_service_waits_for_a_topology_that_is_not_there_yet(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await provision.request(mesh.mesh.connection, "CONSUMER.DELETE.JOBS.work-finish", strict=True)
    starting = asyncio.ensure_future(mesh.start(finishing))
    await mesh.until(lambda: mesh.replicas and "not applied yet" in mesh.replicas[0].health.why_not)
    await mesh.apply()
    await starting
    assert mesh.replicas[0].health.why_not == ""


async def test_a_service_that_waits_stops_at_once(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await provision.request(mesh.mesh.connection, "CONSUMER.DELETE.JOBS.work-finish", strict=True)
    starting = asyncio.ensure_future(mesh.start(finishing))
    await mesh.until(lambda: mesh.replicas and "not applied yet" in mesh.replicas[0].health.why_not)
    replica = mesh.replicas[0]
    await asyncio.wait_for(replica.stop(), 5)
    await starting


async def test_a_sink_reads_every_stream(mesh_of: MeshOf, finishing: Service) -> None:
    library, kept = Service("library"), list[Recorded]()

    @library.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        kept.extend(events)

    mesh = await mesh_of(finishing, library)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.until(lambda: kept)
    assert [(event.type, event.key, event.source) for event in kept] == [("work.finished", "j-1", "/jetmesh/work")]


def test_the_command_plans_and_applies(broker: Broker) -> None:
    environment = {"NATS_URL": broker.url, "JETMESH_APP": "services.flow:SERVICES"}
    run = CliRunner(env=environment)
    planned = run.invoke(commands, ["topology", "plan"])
    assert (planned.exit_code, "create stream ORDERS" in planned.output) == (1, True)
    assert run.invoke(commands, ["topology", "apply"]).exit_code == 0
    planned = run.invoke(commands, ["topology", "plan"])
    assert planned.exit_code == 0, planned.output
