"""The topology follows from the signatures; the broker is brought there without a loss, or a start is refused."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh import Recorded
from jetmesh.commands import commands
from jetmesh.contracts import registry
from jetmesh.jetstream import api
from jetmesh.jetstream.consumer_config import hold_seconds
from jetmesh.runtime import durable_watch
from jetmesh.service import Service
from jetmesh.testing import Broker, MeshOf
from jetmesh.topology import provision
from jetmesh.topology.provision import Change, Drift
from jetmesh.topology.streams import Topology, topology
from tests.support.jobs import Asked, Finished
from tests.support.operators import change_durable, change_stream, config_of
from tests.support.versions import NEWER


async def test_what_an_operator_set_beside_our_fields_stays(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_stream(mesh, "WORK", description="an operator's words", discard="old")
    (step,) = [s for s in await provision.plan(mesh.context.connection, mesh.topology) if s.change is not Change.KEEP]
    assert str(step) == "update stream WORK\n    discard: 'old' -> 'new'"
    await mesh.apply()
    info = await api.request(mesh.context.connection, "STREAM.INFO.WORK")
    assert (info["config"]["description"], info["config"]["discard"]) == ("an operator's words", "new")


async def test_a_plan_asks_each_stream_once(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch, finishing: Service
) -> None:
    mesh = await mesh_of(finishing, start=False)
    asked: list[str] = []
    ask = mesh.context.connection.ask

    async def counted(subject: str, *arguments: Any, **more: Any) -> bytes:
        asked.append(subject.removeprefix("$JS.API."))
        return await ask(subject, *arguments, **more)

    monkeypatch.setattr(mesh.context.connection, "ask", counted)
    await provision.plan(mesh.context.connection, mesh.topology)
    streams = sorted(subject for subject in asked if subject.startswith("STREAM.INFO."))
    wanted = {f"STREAM.INFO.{stream.name}" for stream in mesh.topology.streams}
    assert streams == sorted(wanted | {"STREAM.INFO.JETMESH_RESTORING"})


async def test_what_would_lose_messages_is_refused_and_nothing_is_changed(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_stream(mesh, "WORK", subjects=["work.*.*", "labour.*.*"], discard="old")
    await mesh.publish("labour.done.l-1", b"{}")
    steps = await provision.plan(mesh.context.connection, mesh.topology, prune=True)
    with pytest.raises(Drift, match=r"^refuse stream WORK: the stream holds messages of labour\.\*\.\*$"):
        await provision.apply(mesh.context.connection, steps)
    assert (await config_of(mesh, "STREAM.INFO.WORK"))["discard"] == "old"
    await api.request(mesh.context.connection, "STREAM.PURGE.WORK", {"filter": "labour.>"}, strict=True)
    await provision.apply(
        mesh.context.connection, await provision.plan(mesh.context.connection, mesh.topology, prune=True)
    )
    assert (await config_of(mesh, "STREAM.INFO.WORK"))["subjects"] == ["work.*.*"]


async def test_a_service_waits_where_the_topology_differs_with_the_difference(
    mesh_of: MeshOf, finishing: Service
) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_durable(mesh, "JOBS.work-finish", max_deliver=7)
    starting = asyncio.ensure_future(mesh.start(finishing))
    await mesh.until(lambda: mesh.replicas and "7 -> -1" in mesh.replicas[0].health.why_not)
    reason = mesh.replicas[0].health.why_not
    assert "update consumer JOBS/work-finish; max_deliver: 7 -> -1; the broker differs" in reason
    assert "run `jetmesh topology apply`" in reason
    await mesh.apply()
    await starting
    assert mesh.replicas[0].health.why_not == ""


async def test_a_service_waits_for_a_topology_that_is_not_there_yet(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await api.request(mesh.context.connection, "CONSUMER.DELETE.JOBS.work-finish", strict=True)
    starting = asyncio.ensure_future(mesh.start(finishing))
    await mesh.until(lambda: mesh.replicas and "not applied yet" in mesh.replicas[0].health.why_not)
    await mesh.apply()
    await starting
    assert mesh.replicas[0].health.why_not == ""


async def test_a_service_that_waits_stops_at_once(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await api.request(mesh.context.connection, "CONSUMER.DELETE.JOBS.work-finish", strict=True)
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


OWN = {
    "max_ack_pending": 7,
    "ack_wait": 45_000_000_000,
    "inactive_threshold": 86_400_000_000_000,
    "metadata": {"team": "night shift"},
    "sample_freq": "100%",
    "max_batch": 100,
}


@pytest.mark.parametrize("name", OWN)
async def test_what_an_operator_set_at_a_durable_stays(mesh_of: MeshOf, finishing: Service, name: str) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_durable(mesh, "JOBS.work-finish", **{name: OWN[name]}, max_deliver=7)
    await mesh.apply()
    config = await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish")
    has = config[name] if name != "metadata" else {"team": config["metadata"]["team"]}
    assert (has, config["max_deliver"]) == (OWN[name], -1)
    assert {step.change for step in await provision.plan(mesh.context.connection, mesh.topology)} == {Change.KEEP}
    await mesh.start(finishing)


async def test_a_service_keeps_to_what_an_operator_sets_while_it_runs(
    mesh_of: MeshOf, finishing: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_watch, "POLL_SECONDS", 0.1)
    mesh = await mesh_of(finishing, JETMESH_SLOTS="4")
    jobs = [f"job-{number}" for number in range(20)]
    for limits in ({"max_batch": 1, "max_expires": 2_000_000_000}, {"max_batch": 0, "max_expires": 0}):
        await change_durable(mesh, "JOBS.work-finish", **limits)
        for job in jobs:
            await mesh.record(Asked(job_id=f"{job}-{limits['max_batch']}"))
        for job in jobs:
            await mesh.recorded(Finished, f"{job}-{limits['max_batch']}")
    assert mesh.replicas[0].health.why_not == ""


async def test_many_processes_find_room_where_an_operator_lets_one_ask_for_little(
    mesh_of: MeshOf, finishing: Service
) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_durable(mesh, "JOBS.work-finish", max_batch=1)
    for _ in range(3):
        await mesh.start(finishing)
    info = await api.request(mesh.context.connection, "CONSUMER.INFO.JOBS.work-finish", strict=True)
    assert 0 < info["num_waiting"] < info["config"]["max_waiting"]


async def test_an_operators_back_off_stays_and_is_minded(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_durable(mesh, "JOBS.work-finish", backoff=[2_000_000_000, 9_000_000_000])
    await mesh.apply()
    config = await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish")
    assert config["backoff"] == [2_000_000_000, 9_000_000_000]
    assert hold_seconds(config) == 2.0


async def test_a_setting_of_ours_is_changed_and_an_operators_value_is_not(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)

    async def waits(seconds: float) -> float:
        needed = topology([finishing], ack_wait_seconds=seconds).consumers
        wanted = Topology((), needed)
        await provision.apply(mesh.context.connection, await provision.plan(mesh.context.connection, wanted))
        return float((await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish"))["ack_wait"]) / 1e9

    assert [await waits(60), await waits(20), await waits(30), await waits(40)] == [60, 20, 30, 40]
    await change_durable(mesh, "JOBS.work-finish", ack_wait=30_000_000_000)
    assert [await waits(40), await waits(20)] == [30, 30]


async def test_a_durable_that_can_not_be_changed_is_refused_before_anything_is(
    mesh_of: MeshOf, finishing: Service
) -> None:
    mesh = await mesh_of(finishing, start=False)
    await api.request(mesh.context.connection, "CONSUMER.DELETE.JOBS.work-finish", strict=True)
    body = {"durable_name": "work-finish", "ack_policy": "all", "filter_subject": "jobs.asked.*"}
    await api.request(
        mesh.context.connection,
        "CONSUMER.CREATE.JOBS.work-finish",
        {"stream_name": "JOBS", "config": body},
        strict=True,
    )
    await change_stream(mesh, "WORK", discard="old")
    with pytest.raises(Drift, match=r"^refuse consumer JOBS/work-finish: ack_policy of a durable can't be changed"):
        await mesh.apply()
    assert (await config_of(mesh, "STREAM.INFO.WORK"))["discard"] == "old"


def _apply(url: str, app: str, *arguments: str) -> Any:
    environment = {"NATS_URL": url, "JETMESH_APP": app}
    return CliRunner(env=environment).invoke(commands, ["topology", "apply", *arguments])


async def test_an_older_version_is_applied_again_and_keeps_what_the_newer_one_added(
    mesh_of: MeshOf, broker: Broker
) -> None:
    mesh = await mesh_of(*NEWER, start=False)
    said = ""
    for version in ("NEWER", "OLDER", "NEWER", "OLDER"):
        applied = await asyncio.to_thread(_apply, broker.url, f"tests.support.versions:{version}")
        assert applied.exit_code == 0, applied.output
        said = applied.output
    assert "kept at consumer JOBS/work-finish, though not declared here: filter_subjects jobs.urged.*" in said
    contracts = await registry.fetch(mesh.context.connection)
    assert sorted(contracts) == ["jobs.asked", "jobs.urged", "work.finished"]
    pruned = await asyncio.to_thread(_apply, broker.url, "tests.support.versions:OLDER", "--prune")
    assert pruned.exit_code == 0, pruned.output
    assert sorted(await registry.fetch(mesh.context.connection)) == ["jobs.asked", "work.finished"]
    assert (await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish"))["filter_subjects"] == ["jobs.asked.*"]


async def test_a_durable_that_pushes_is_refused(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await api.request(mesh.context.connection, "CONSUMER.DELETE.JOBS.work-finish", strict=True)
    needed = next(each for each in mesh.topology.consumers if each.durable == "work-finish").config
    body = {"stream_name": "JOBS", "config": {**needed, "deliver_subject": "somewhere"}}
    await api.request(mesh.context.connection, "CONSUMER.CREATE.JOBS.work-finish", body, strict=True)
    with pytest.raises(Drift, match=r"^refuse consumer JOBS/work-finish: the durable pushes to somewhere"):
        await mesh.apply()


async def test_what_nobody_may_tune_is_set_back(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_durable(mesh, "JOBS.work-finish", headers_only=True, priority_policy="overflow", priority_groups=["a"])
    await change_stream(mesh, "WORK", no_ack=True, subject_transform={"src": "work.>", "dest": "elsewhere.>"})
    await mesh.apply()
    consumer = await config_of(mesh, "CONSUMER.INFO.JOBS.work-finish")
    assert not {name for name in ("headers_only", "priority_policy", "priority_groups") if consumer.get(name)}
    stream = await config_of(mesh, "STREAM.INFO.WORK")
    assert not {name for name in ("no_ack", "subject_transform") if stream.get(name)}
    await mesh.start(finishing)


async def test_a_sealed_stream_is_refused_even_where_nothing_else_differs(mesh_of: MeshOf, finishing: Service) -> None:
    mesh = await mesh_of(finishing, start=False)
    await change_stream(mesh, "WORK", sealed=True)
    with pytest.raises(Drift, match=r"^refuse stream WORK: the stream is sealed"):
        await mesh.apply()
