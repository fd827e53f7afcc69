"""What a service listens to on foreign streams, published by clients that know nothing of jetmesh."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
import pytest_asyncio
from click.testing import CliRunner
from google.protobuf.wrappers_pb2 import DoubleValue
from nats.aio.client import Client

from jetmesh import Delivery, ForeignMessage, Retry, Service, Unavailable
from jetmesh.commands import commands
from jetmesh.testing import Broker, MeshOf, given
from tests.support.plant import (
    TELEMETRY,
    TEMPERATURES,
    Alarm,
    Installed,
    Pressure,
    Reading,
    Scanned,
    alarming,
    climate,
    measuring,
    protobuf,
    scanning,
)
from tests.support.programs import program, run

SUBJECT = "telemetry.eu.plant7.line3.temp"


@pytest_asyncio.fixture
async def machine(broker: Broker) -> AsyncIterator[Client]:
    """A client of nats-py."""
    connected = await nats.connect(broker.url)
    yield connected
    await connected.close()


async def say(machine: Client, subject: str, body: Any, **headers: str) -> None:
    """Publish, and know that it is stored."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    await machine.jetstream().publish(subject, data, headers=headers or None)


async def test_json_of_nats_py_and_the_nats_cli_is_recorded_once(
    mesh_of: MeshOf, machine: Client, broker: Broker
) -> None:
    service = alarming()
    mesh = await mesh_of(service)
    await say(machine, SUBJECT, {"celsius": 21.5, "unit": "C"})
    cli = program("nats"), "--server", broker.url, "pub", SUBJECT, '{"celsius": 99}'
    await asyncio.to_thread(run, *cli)
    await mesh.settled()
    readings = await mesh.occurrences(Reading, "plant7")
    assert readings == [Reading(plant_id="plant7", line_id="line3", celsius=each) for each in (21.5, 99.0)]
    assert [alarm.celsius for alarm in await mesh.occurrences(Alarm, "plant7")] == [99.0]
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await mesh.start(service)
    await mesh.settled()
    assert await mesh.count("CLIMATE") == 3
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_the_same_body_twice_is_two_occurrences_since_their_places_differ(
    mesh_of: MeshOf, machine: Client
) -> None:
    mesh = await mesh_of(climate())
    await say(machine, SUBJECT, {"celsius": 20})
    await say(machine, SUBJECT, {"celsius": 20})
    await mesh.settled()
    assert len(await mesh.occurrences(Reading, "plant7")) == 2


@pytest.mark.parametrize(
    ("subject", "body", "reason"),
    [
        (SUBJECT, b"21.5", "body: it is no JSON object"),
        (SUBJECT, b"\xff\x00", "body: Invalid JSON"),
        (SUBJECT, b'{"celsius": "warm"}', "celsius: Input should be a valid number"),
        (SUBJECT, b"{}", "celsius: Field required"),
        (SUBJECT, b'{"celsius": 1, "plant_id": "plant8"}', "plant_id: the body has another one than the subject"),
        (f"telemetry.eu.{'p' * 65}.line3.temp", b'{"celsius": 1}', "plant_id: String should have at most 64"),
    ],
    ids=["number", "binary", "type", "missing", "contradiction", "key"],
)
async def test_what_is_wrong_is_one_letter_that_names_the_field(
    mesh_of: MeshOf, machine: Client, subject: str, body: bytes, reason: str
) -> None:
    mesh = await mesh_of(climate())
    await say(machine, subject, body)
    (letter,) = await mesh.dead_letters(1)
    await mesh.settled()
    assert letter.headers["Jetmesh-Reason"].startswith(reason)
    assert letter.headers["Jetmesh-Subject"] == subject
    assert (letter.headers["Jetmesh-Stream"], letter.headers["Jetmesh-Attempts"]) == (TELEMETRY, "1")
    assert letter.data == body
    assert await mesh.count("CLIMATE") == 0


async def test_bytes_and_protobuf_are_decoded_and_what_is_neither_is_a_letter(mesh_of: MeshOf, machine: Client) -> None:
    mesh = await mesh_of(measuring())
    await say(machine, "pressure.raw.plant7", struct.pack(">f", 1.5))
    await say(machine, "pressure.pb.plant7", DoubleValue(value=2.5).SerializeToString())
    await mesh.settled()
    assert sorted(one.bar for one in await mesh.occurrences(Pressure, "plant7")) == [1.5, 2.5]
    await say(machine, "pressure.raw.plant7", b"123")
    await say(machine, "pressure.pb.plant7", b"\xff")
    letters = await mesh.dead_letters(2)
    reasons = {letter.headers["Jetmesh-Reaction"]: letter.headers["Jetmesh-Reason"] for letter in letters}
    assert reasons["raw"].startswith("pressure.raw.plant7: packed raised error('unpack requires")
    assert reasons["measured"].startswith("pressure.pb.plant7: protobuf raised DecodeError(")


async def test_an_id_of_the_publisher_tells_what_was_published_twice(mesh_of: MeshOf, machine: Client) -> None:
    mesh = await mesh_of(scanning())
    await say(machine, "scans.hall.plant7", b"box", Scan="s-1")
    await say(machine, "scans.hall.plant7", b"box", Scan="s-1")
    await mesh.settled()
    assert await mesh.occurrences(Scanned, "plant7") == [Scanned(plant_id="plant7", scan_id="s-1", code="box")]
    assert await mesh.count("DEAD_LETTERS") == 0
    await say(machine, "scans.hall.plant7", b"crate", Scan="s-1")
    await say(machine, "scans.hall.plant7", b"crate")
    reasons = sorted(letter.headers["Jetmesh-Reason"] for letter in await mesh.dead_letters(2))
    assert reasons[0].startswith("climate.scanned.plant7.s-1 was recorded before with other contents")
    assert reasons[1] == "scans.hall.plant7: scanned raised KeyError('Scan')"


async def test_a_second_milestone_of_a_key_is_a_letter(mesh_of: MeshOf, machine: Client) -> None:
    service = Service("climate")

    @service.listen("hello.{plant_id}", stream="HELLO")
    async def install(one: Installed) -> Installed:
        """A machine reports for duty: note its plant."""
        return one

    mesh = await mesh_of(service)
    await say(machine, "hello.plant7", {})
    await mesh.recorded(Installed, "plant7")
    await say(machine, "hello.plant7", {})
    (letter,) = await mesh.dead_letters(1)
    assert "climate.installed was recorded before, from another cause" in letter.headers["Jetmesh-Reason"]
    await mesh.deliver_again(service)
    await mesh.settled()
    assert await mesh.count("CLIMATE") == 1


async def test_it_is_replayed_to_a_decoder_that_can_read_it_now(
    mesh_of: MeshOf, machine: Client, broker: Broker
) -> None:
    service, known = Service("climate"), {"celsius"}

    def decode(message: ForeignMessage) -> Reading:
        body = json.loads(message.data)
        (unit,) = known & body.keys()
        return Reading(**message.tokens, celsius=float(body[unit]))

    @service.listen(TEMPERATURES, stream=TELEMETRY, decode=decode)
    async def read(reading: Reading) -> Reading:
        """A machine said how warm it is: record that."""
        return reading

    mesh = await mesh_of(service)
    await say(machine, SUBJECT, {"degrees": 20})
    (letter,) = await mesh.dead_letters(1)
    known.add("degrees")
    runner = CliRunner(env={"NATS_URL": broker.url, "JETMESH_APP": "tests.support.plant:APP"})
    done = await asyncio.to_thread(runner.invoke, commands, ["dlq", "replay", str(letter.sequence)])
    assert done.exit_code == 0, done.output
    await mesh.until(lambda: mesh.count("CLIMATE"))
    assert [one.celsius for one in await mesh.occurrences(Reading, "plant7")] == [20.0]


async def test_a_long_pause_brings_it_back_with_the_same_id(mesh_of: MeshOf, machine: Client) -> None:
    service = Service("climate")
    seen: list[tuple[str, int, str]] = []

    @service.listen(TEMPERATURES, stream=TELEMETRY, retry=Retry(attempts=3))
    async def read(reading: Reading, delivery: Delivery) -> Reading:
        """A machine said how warm it is: record that, when it can be."""
        seen.append((delivery.id, delivery.sequence, delivery.headers["Machine"]))
        if len(seen) == 1:
            raise Unavailable("down", 2.2)
        return reading

    mesh = await mesh_of(service)
    await say(machine, SUBJECT, {"celsius": 20}, Machine="m-1")
    await mesh.until(lambda: mesh.count("CLIMATE"))
    await mesh.settled()
    assert seen[0] == seen[1]
    assert len(seen) == 2


async def test_a_scenario_is_given_the_event_and_a_decoder_is_a_function() -> None:
    reading = Reading(plant_id="plant7", line_id="line3", celsius=20.0)
    service = climate()
    await given().when(service.reactions[0].function, reading, of=service).then(reading)
    message = ForeignMessage(
        "pressure.pb.plant7", DoubleValue(value=2.5).SerializeToString(), tokens={"plant": "plant7"}
    )
    assert protobuf(message) == Pressure(plant_id="plant7", bar=2.5)
