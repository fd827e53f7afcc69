"""Foreign streams: found or made, never changed, and known to plan, accounts, flow and doctor."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jetmesh import App, DeclarationError, Service
from jetmesh.app import load
from jetmesh.commands import commands
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.operate import flow
from jetmesh.testing import Broker
from jetmesh.topology.accounts import imports_of
from tests.support import plant
from tests.support.plant import TELEMETRY, Reading, climate

THEIRS: Mapping[str, Any] = {
    "name": TELEMETRY, "subjects": ["telemetry.>"], "retention": "limits", "storage": "file", "max_age": 3600 * 10**9,
    "metadata": {"team": "plants"},
}  # fmt: skip
DURABLE = f"CONSUMER.INFO.{TELEMETRY}.climate-read"


async def jetmesh(broker: Broker, *arguments: str, app: str = "APP") -> Result:
    """A command on the app that listens."""
    run = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": f"tests.support.plant:{app}"})
    return await asyncio.to_thread(run.invoke, commands, arguments)


async def made(connection: Connection, **fields: Any) -> Any:
    """The stream of the plants, as its owner made it."""
    await api.request(connection, f"STREAM.CREATE.{TELEMETRY}", {**THEIRS, **fields}, strict=True)
    return await config(connection)


async def config(connection: Connection) -> Any:
    info = await api.request(connection, f"STREAM.INFO.{TELEMETRY}", strict=True)
    return info["config"]


async def test_a_stream_that_is_there_is_read_and_never_changed(broker: Broker, connection: Connection) -> None:
    before = await made(connection)
    done = await jetmesh(broker, "topology", "apply")
    assert done.exit_code == 0, done.output
    assert f"create consumer {TELEMETRY}/climate-read" in done.output
    assert f"stream {TELEMETRY}" not in done.output
    pruned = await jetmesh(broker, "topology", "apply", "--prune")
    assert pruned.exit_code == 0, pruned.output
    assert await config(connection) == before
    durable = (await api.request(connection, DURABLE, strict=True))["config"]
    assert durable["filter_subjects"] == ["telemetry.*.*.*.temp"]
    assert durable["metadata"]["jetmesh.app"] == "tests"


async def test_one_that_is_not_there_is_made_without_an_owner_and_then_left_alone(
    broker: Broker, connection: Connection
) -> None:
    planned = await jetmesh(broker, "topology", "plan")
    assert f"create stream {TELEMETRY}" in planned.output
    assert (await jetmesh(broker, "topology", "apply")).exit_code == 0
    has = await config(connection)
    assert has["subjects"] == ["telemetry.*.*.*.temp"]
    assert not any(name.startswith("jetmesh.") for name in has.get("metadata", {}))
    changed = {**has, "subjects": ["telemetry.>"], "max_age": 10**12}
    await api.request(connection, f"STREAM.UPDATE.{TELEMETRY}", changed, strict=True)
    assert (await jetmesh(broker, "topology", "apply", "--prune")).exit_code == 0
    assert (await config(connection))["subjects"] == ["telemetry.>"]
    assert (await jetmesh(broker, "topology", "plan")).exit_code == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"subjects": ["telemetry.*"]}, "it holds telemetry.*, and no subject of telemetry.*.*.*.temp is in it"),
        ({"retention": "workqueue"}, "its retention is workqueue: whoever acknowledges a message there takes it away"),
        (
            {"metadata": {"jetmesh.app": "plants", "jetmesh.service": "telemetry"}},
            "it is no foreign stream: it belongs to the service telemetry of the app plants; react to the events in it",
        ),
    ],
    ids=["subjects", "retention", "owner"],
)
async def test_one_that_can_not_be_listened_to_is_refused_with_the_fix(
    broker: Broker, connection: Connection, fields: Mapping[str, Any], words: str
) -> None:
    before = await made(connection, **fields)
    done = await jetmesh(broker, "topology", "apply")
    assert done.exit_code == 3
    assert f"refuse stream {TELEMETRY}: {words}" in done.output
    assert await config(connection) == before
    assert await api.request(connection, DURABLE) is None


async def test_a_subject_that_another_stream_holds_names_that_stream(broker: Broker, connection: Connection) -> None:
    await api.request(connection, "STREAM.CREATE.SENSORS", {**THEIRS, "name": "SENSORS"}, strict=True)
    done = await jetmesh(broker, "topology", "plan")
    assert done.exit_code == 1
    assert "telemetry.*.*.*.temp is taken by the stream SENSORS already: name that one as `stream=`" in done.output


async def test_past_messages_are_a_decision(broker: Broker, connection: Connection) -> None:
    await made(connection)
    await connection.ask("telemetry.eu.plant7.line3.temp", b'{"celsius": 1}')
    done = await jetmesh(broker, "topology", "plan")
    assert "climate.read=now" in done.output
    assert "it would read 1 past events" in done.output
    applied = await jetmesh(broker, "topology", "apply", "--since", "climate.read=now")
    assert applied.exit_code == 0, applied.output


async def test_doctor_says_what_is_missing_and_finds_nothing_once_it_is_applied(
    broker: Broker, connection: Connection
) -> None:
    await made(connection)
    ill = await jetmesh(broker, "doctor", "--json")
    assert f"create consumer {TELEMETRY}/climate-read" in ill.output
    assert (await jetmesh(broker, "topology", "apply")).exit_code == 0
    assert TELEMETRY not in (await jetmesh(broker, "doctor", "--json")).output


async def test_doctor_does_not_take_a_missing_foreign_stream_for_a_loss_of_ours(
    broker: Broker, connection: Connection
) -> None:
    assert (await jetmesh(broker, "topology", "apply")).exit_code == 0
    await connection.ask("climate.reading.plant7.r-1", b"{}")
    await api.request(connection, f"STREAM.DELETE.{TELEMETRY}", strict=True)
    ill = await jetmesh(broker, "doctor", "--json")
    assert f"create stream {TELEMETRY}" in ill.output
    assert "is lost here" not in ill.output


def test_the_account_may_pull_from_the_stream_and_do_nothing_else_there() -> None:
    granted = {each.subject for each in imports_of(climate(), [climate()])}
    place = f"{TELEMETRY}.climate-read"
    assert {subject for subject in granted if TELEMETRY in subject} == {
        f"$JS.API.CONSUMER.MSG.NEXT.{place}", f"$JS.API.CONSUMER.INFO.{place}", f"$JS.ACK.{place}.>",
    }  # fmt: skip
    assert not any(subject.startswith("telemetry") for subject in granted)


def test_flow_shows_the_subject_and_the_stream() -> None:
    (row,) = flow.rows(plant.APP)
    assert (row.happened, row.outcomes) == ("telemetry.*.{plant_id}.{line_id}.temp in TELEMETRY", "climate.reading")
    assert 'TELEMETRY_stream[("telemetry.*.{plant_id}.{line_id}.temp in TELEMETRY")] --> climate_read' in flow.mermaid(
        plant.APP
    )


def test_a_stream_of_the_app_itself_is_no_foreign_one(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("climate")

    @service.listen("climate.reading.>", stream="CLIMATE")
    async def again(reading: Reading) -> Reading:
        """A reading: record it again."""
        return reading

    monkeypatch.setattr(plant, "APP", App((service,)))
    with pytest.raises(DeclarationError, match=r"climate\.again listens to CLIMATE, the stream of climate"):
        load("tests.support.plant:APP")
