"""`jetmesh doctor` names what is wrong, with its fix, shows no secret, and fails only where something is wrong."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.commands.doctor import traces_of
from jetmesh.commands.target import Target
from jetmesh.common.ports import free_port
from jetmesh.contracts import registry
from jetmesh.contracts.schema import contract
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.transport import answer_inbox
from jetmesh.operate.doctor import CheckContext, Finding, Grade, redacted_url, run_checks, settings_in_force, traces
from jetmesh.settings import Settings, read
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.jobs import SERVICES
from tests.support.tollgate import Bank, CarArrived, Gate, tollgate


async def _examined(mesh: LocalMesh) -> dict[str, Finding]:
    context = CheckContext(mesh.context.connection, mesh.services, mesh.settings)
    return {finding.topic: finding async for finding in run_checks(context)}


async def test_a_mesh_as_it_should_be_has_nothing_wrong(mesh_of: MeshOf) -> None:
    findings = await _examined(await mesh_of(tollgate(), dependencies=[Gate(Bank())]))
    assert not [finding for finding in findings.values() if finding.grade is Grade.WRONG]
    assert findings["services"].found == "tolls is ready"
    assert "API level" in findings["jetstream"].found
    assert findings["clock"].grade is Grade.GOOD
    assert findings["security"].fix


async def test_drift_is_wrong_and_says_how_to_mend_it(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())], start=False)
    await mesh.context.connection.ask("$JS.API.CONSUMER.DELETE.CARS.tolls-charge", b"")
    findings = await _examined(mesh)
    assert findings["topology"].grade is Grade.WRONG
    assert findings["topology"].fix == "run `jetmesh topology apply`"
    assert findings["services"].fix == "start it: `jetmesh run tolls`"


async def _wrong(mesh: LocalMesh, topic: str, monitor_url: str = "") -> dict[str, str]:
    """What is wrong about a topic, with its fix."""
    context = CheckContext(mesh.context.connection, mesh.services, mesh.settings, monitor_url)
    found = [finding async for finding in run_checks(context)]
    return {finding.found: finding.fix for finding in found if finding.topic == topic and finding.grade is Grade.WRONG}


async def _mesh_with_data(mesh_of: MeshOf, *, start: bool = False) -> LocalMesh:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())], start=start)
    await mesh.record(CarArrived(plate="car-1"))
    return mesh


async def _api(mesh: LocalMesh, call: str, body: Mapping[str, Any] | None = None) -> None:
    await api.request(mesh.context.connection, call, body, strict=True)


async def test_a_paused_durable_is_a_doubt(mesh_of: MeshOf) -> None:
    mesh = await _mesh_with_data(mesh_of, start=True)
    await _api(mesh, "CONSUMER.PAUSE.CARS.tolls-charge", {"pause_until": "2200-01-01T00:00:00Z"})
    assert await _wrong(mesh, "durables") == {}
    context = CheckContext(mesh.context.connection, mesh.services, mesh.settings)
    found = [each async for each in run_checks(context) if each.grade is Grade.DOUBT]
    (said,) = [each for each in found if each.topic == "durables"]
    assert said.found == "CARS/tolls-charge is paused until 2200-01-01T00:00:00Z; 0 wait"
    assert "jetmesh resume" in said.fix


async def test_a_durable_that_belongs_to_no_reaction_is_wrong_unless_somebody_reads_it(mesh_of: MeshOf) -> None:
    mesh = await _mesh_with_data(mesh_of, start=True)
    config = {"durable_name": "tolls-old_name", "ack_policy": "explicit"}
    await _api(mesh, "CONSUMER.CREATE.TOLLS.tolls-old_name", {"stream_name": "TOLLS", "config": config})
    wrong = await _wrong(mesh, "durables")
    assert wrong == {
        "TOLLS/tolls-old_name belongs to no reaction, and no client pulls it: what it has not acknowledged is never "
        "archived": "if it is not needed: `nats consumer rm TOLLS tolls-old_name`"
    }
    async with answer_inbox(mesh.context.connection, lambda *_: None) as inbox:
        pull = json.dumps({"batch": 10, "expires": 30 * 10**9}).encode()
        mesh.context.connection.send("$JS.API.CONSUMER.MSG.NEXT.TOLLS.tolls-old_name", pull, reply=inbox)
        await mesh.context.connection.flush()
        assert await _wrong(mesh, "durables") == {}


@pytest.mark.parametrize(("limit", "value"), [("max_bytes", 2_000), ("max_msgs", 3)])
async def test_a_full_stream_is_wrong(mesh_of: MeshOf, limit: str, value: int) -> None:
    mesh = await _mesh_with_data(mesh_of)
    info = await api.request(mesh.context.connection, "STREAM.INFO.TOLLS")
    await _api(mesh, "STREAM.UPDATE.TOLLS", {**info["config"], limit: value})
    assert await _wrong(mesh, "room") == {}
    headers = {"ce-x": "y" * 780} if limit == "max_bytes" else {}
    for number in range(2 if headers else 3):
        await mesh.publish(f"tolls.paid.car-{number}", b"{}", headers)
    ((found, fix),) = (await _wrong(mesh, "room")).items()
    assert "TOLLS holds" in found
    assert f"nats stream edit TOLLS --{limit.replace('_', '-')}" in fix
    assert limit == "max_bytes" or "it is full, and refuses what comes" in found


async def test_a_stream_that_is_lost_is_restored_and_never_made_anew(mesh_of: MeshOf) -> None:
    mesh = await _mesh_with_data(mesh_of)
    await _api(mesh, "STREAM.DELETE.TOLLS")
    wrong = await _wrong(mesh, "topology")
    (found,) = [words for words in wrong if words.startswith("stream TOLLS is gone")]
    assert "restore the mesh from its backup" in wrong[found]
    assert not [fix for fix in wrong.values() if "apply" in fix]


async def test_a_stream_of_a_mesh_without_data_is_made(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())], start=False)
    await _api(mesh, "STREAM.DELETE.TOLLS")
    assert set((await _wrong(mesh, "topology")).values()) == {"run `jetmesh topology apply`"}


async def test_the_stream_of_a_new_service_is_made(mesh_of: MeshOf) -> None:
    """What is deployed is known by the contracts: `topology apply` publishes them."""
    mesh = await _mesh_with_data(mesh_of)
    await registry.publish(mesh.context.connection, {"cars.arrived": contract(CarArrived)})
    await _api(mesh, "STREAM.DELETE.TOLLS")
    wrong = await _wrong(mesh, "topology")
    assert wrong["create stream TOLLS"] == "run `jetmesh topology apply`"


async def test_services_that_are_all_down_are_wrong(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES, start=False)
    wrong = await _wrong(mesh, "services")
    (fix,) = [fix for found, fix in wrong.items() if found.startswith("no service runs")]
    assert "jetmesh run jobs work" in fix


async def test_a_service_that_is_down_while_something_waits_for_it_is_wrong(mesh_of: MeshOf) -> None:
    mesh = await _mesh_with_data(mesh_of)
    ((found, fix),) = (await _wrong(mesh, "services")).items()
    assert "1 deliveries wait for it" in found
    assert fix == "start it: `jetmesh run tolls`"


async def test_each_process_of_a_service_is_heard(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    second = await mesh.start(mesh.services[0])
    second.health.unready("out of order")
    assert "tolls is not ready: out of order" in await _wrong(mesh, "services")


async def test_traces_that_nobody_takes_are_wrong(broker: Broker) -> None:
    (none,) = await traces({})
    (lost,) = await traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@127.0.0.1:1"})
    (taken,) = await traces({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{broker.port}"})
    assert [none.grade, lost.grade, taken.grade] == [Grade.NOTE, Grade.WRONG, Grade.GOOD]
    assert "secret" not in lost.found


async def test_each_receiver_is_tried_and_a_variable_that_is_wrong_is_named(broker: Broker) -> None:
    found = await traces(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{broker.port}",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1/v1/metrics",
        }
    )
    assert {finding.topic: finding.grade for finding in found} == {"traces": Grade.GOOD, "metrics": Grade.WRONG}
    (wrong,) = await traces({"OTEL_PROPAGATORS": "b3"})
    assert wrong.grade is Grade.WRONG
    assert "OTEL_PROPAGATORS" in wrong.found


async def test_a_proxy_on_the_way_is_tried_and_not_the_receiver_behind_it(broker: Broker) -> None:
    behind = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example"}
    (there,) = await traces({**behind, "HTTPS_PROXY": f"http://ada:secret@127.0.0.1:{broker.port}"})
    (away,) = await traces({**behind, "HTTPS_PROXY": "http://ada:secret@127.0.0.1:1"})
    assert [there.grade, away.grade] == [Grade.GOOD, Grade.WRONG]
    assert "proxy" in away.found
    assert "secret" not in there.found + away.found


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_RESOURCE_ATTRIBUTES", "production"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", __file__),
    ],
)
async def test_each_variable_that_would_stop_a_service_is_wrong(broker: Broker, variable: str, value: str) -> None:
    (wrong,) = await traces({"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{broker.port}", variable: value})
    assert wrong.grade is Grade.WRONG
    assert variable.removeprefix("OTEL_EXPORTER_OTLP_TRACES_") in wrong.found


def test_a_demo_keeps_its_traces_itself() -> None:
    target = Target(Settings(), "the demo", {"NATS_URL": "nats://a"}, {"traces_url": "http://127.0.0.1:14318"})
    assert traces_of(target) == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:14318", "NATS_URL": "nats://a"}


def test_settings_are_shown_with_their_source_and_without_secrets() -> None:
    environment = {"NATS_URL": "nats://ada:secret@nats:4222,nats://b:4222", "JETMESH_SLOTS": "7"}
    found = settings_in_force(Settings, read(Settings, environment), dict.fromkeys(environment, "environment"))
    assert [finding.found for finding in found] == [
        "NATS_URL = nats://(hidden)@nats:4222,nats://b:4222 (environment)",
        "JETMESH_SLOTS = 7 (environment)",
    ]
    assert redacted_url("nats://token@nats:4222") == "nats://(hidden)@nats:4222"


async def test_the_command_fails_where_nobody_answers_and_says_where_it_asked() -> None:
    environment = {"NATS_URL": "nats://127.0.0.1:1", "JETMESH_CONNECT_SECONDS": "1"}
    status, document = await _doctor(environment)
    (broker,) = [finding for finding in document["findings"] if finding["topic"] == "broker"]
    assert (status, document["ok"], broker["grade"]) == (1, False, "wrong")
    assert "address from NATS_URL" in broker["found"]


async def test_the_command_finds_durability_at_the_monitoring_address(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    environment = {"JETMESH_APP": "tests.support.tollgate:SERVICES", **mesh.environment}
    applied = await asyncio.to_thread(CliRunner(env=environment).invoke, commands, ["topology", "apply"])
    assert applied.exit_code == 0, applied.output
    status, document = await _doctor(mesh.environment)
    durability = next(finding for finding in document["findings"] if finding["topic"] == "durability")
    assert (status, durability["grade"]) == (0, "doubt"), [f for f in document["findings"] if f["grade"] == "wrong"]
    assert durability["fix"]


async def test_a_cluster_without_a_majority_is_told_from_a_server_without_jetstream(tmp_path: Path) -> None:
    alone = tmp_path / "nats-server.conf"
    alone.write_text(
        f'server_name: one\ncluster {{ name: three, listen: "127.0.0.1:{free_port()}", '
        'routes: ["nats-route://127.0.0.1:1", "nats-route://127.0.0.1:2"] }\n'
    )
    with Broker(tmp_path / "store", "-c", str(alone)) as server:
        connection = Connection()
        await connection.open(server.url, "test", within_seconds=10)
        found = [finding async for finding in run_checks(CheckContext(connection, [], Settings()))]
        await connection.close()
    (jetstream,) = [finding for finding in found if finding.topic == "jetstream"]
    assert "majority" in jetstream.fix


@pytest.mark.parametrize("monitor", ["http://127.0.0.1:1", "127.0.0.1:8222", "http://[::1", "http://127.0.0.1:{port}"])
async def test_a_monitoring_address_where_nothing_tells_is_wrong(mesh_of: MeshOf, broker: Broker, monitor: str) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())])
    assert "--monitor" in str(await _wrong(mesh, "storing", monitor.format(port=broker.port)))


async def _doctor(environment: Mapping[str, str]) -> tuple[int, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jetmesh", "doctor", "--json"),
        env={**os.environ, "JETMESH_APP": "tests.support.tollgate:SERVICES", **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output)
