"""`jetmesh doctor` names what is wrong, with its fix, shows no secret, and fails only where something is wrong."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from jetmesh.commands.doctor import traces_of
from jetmesh.commands.target import Target
from jetmesh.doctor import Finding, Grade, Patient, examine, redacted_url, settings_in_force, traces
from jetmesh.settings import Settings, read
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.runtime.tollgate import Bank, Gate, tollgate


async def _examined(mesh: LocalMesh) -> dict[str, Finding]:
    patient = Patient(mesh.mesh.connection, mesh.services, mesh.settings)
    return {finding.topic: finding async for finding in examine(patient)}


async def test_a_mesh_as_it_should_be_has_nothing_wrong(mesh_of: MeshOf) -> None:
    findings = await _examined(await mesh_of(tollgate(), dependencies=[Gate(Bank())]))
    assert not [finding for finding in findings.values() if finding.grade is Grade.WRONG]
    assert findings["services"].found == "tolls is ready"
    assert "API level" in findings["jetstream"].found
    assert findings["clock"].grade is Grade.GOOD
    assert findings["security"].fix


async def test_drift_is_wrong_and_says_how_to_mend_it(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(tollgate(), dependencies=[Gate(Bank())], start=False)
    await mesh.mesh.connection.request("$JS.API.CONSUMER.DELETE.CARS.tolls-charge", b"")
    findings = await _examined(mesh)
    assert findings["topology"].grade is Grade.WRONG
    assert findings["topology"].fix == "run `jetmesh topology apply`"
    assert findings["services"].fix == "start it: `jetmesh run tolls`"


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
    status, document = await _doctor(mesh.environment)
    durability = next(finding for finding in document["findings"] if finding["topic"] == "durability")
    assert (status, durability["grade"]) == (0, "doubt")
    assert durability["fix"]


async def _doctor(environment: Mapping[str, str]) -> tuple[int, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jetmesh", "doctor", "--json"),
        env={**os.environ, "JETMESH_APP": "tests.runtime.tollgate:SERVICES", **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output)
