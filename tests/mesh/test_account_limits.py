"""What strangers can fill has an end, leaves room for what is added later, and says when it is near."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jetmesh.jetstream.api import request
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX
from jetmesh.operate.doctor import CheckContext, Finding, Grade, run_checks
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.topology import provision
from jetmesh.topology.streams import DEAD_LETTERS_BYTES_MAX, INTAKE_BYTES_MAX
from jetmesh_shop.flow import SERVICES

GIVEN = {"INTAKE": INTAKE_BYTES_MAX, "DEAD_LETTERS": DEAD_LETTERS_BYTES_MAX}


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    return await mesh_of(*SERVICES, start=False)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Broker]:
    """A broker with less room than the streams may fill."""
    settings = tmp_path / "nats-server.conf"
    settings.write_text("jetstream {max_file_store: 1500MB}\n")
    with Broker(tmp_path / "small", "-c", str(settings)) as broker:
        yield broker


async def state(mesh: LocalMesh, stream: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await request(mesh.context.connection, f"STREAM.INFO.{stream}")
    return found


async def set_limit(mesh: LocalMesh, stream: str, max_bytes: int) -> None:
    config = {**(await state(mesh, stream))["config"], "max_bytes": max_bytes}
    await request(mesh.context.connection, f"STREAM.UPDATE.{stream}", config, strict=True)


async def limit(mesh: LocalMesh, stream: str) -> int:
    return int((await state(mesh, stream))["config"]["max_bytes"])


async def room(mesh: LocalMesh) -> list[Finding]:
    """What doctor says of it."""
    context = CheckContext(mesh.context.connection, mesh.services, mesh.settings)
    return [finding async for finding in run_checks(context) if finding.topic == "room"]


async def test_the_intake_takes_less_than_a_letter_may_hold(mesh: LocalMesh) -> None:
    assert (await state(mesh, "INTAKE"))["config"]["max_msg_size"] == MESSAGE_BYTES_MAX
    assert (await state(mesh, "DEAD_LETTERS"))["config"]["max_msg_size"] == -1
    assert mesh.context.connection.limits.payload_bytes_max > MESSAGE_BYTES_MAX + 32_000
    assert {stream: await limit(mesh, stream) for stream in GIVEN} == GIVEN
    assert [finding.grade for finding in await room(mesh)] == [Grade.GOOD]


@pytest.mark.parametrize("stream", GIVEN)
async def test_a_limit_that_an_operator_set_stays(mesh: LocalMesh, stream: str) -> None:
    await set_limit(mesh, stream, 5_000_000)
    await mesh.apply()
    assert await limit(mesh, stream) == 5_000_000


@pytest.mark.parametrize("stream", GIVEN)
async def test_a_stream_of_an_older_version_gets_its_limit(mesh: LocalMesh, stream: str) -> None:
    await set_limit(mesh, stream, -1)
    (finding,) = await room(mesh)
    assert finding.grade is Grade.DOUBT
    assert f"{stream} has no max_bytes" in finding.found
    await mesh.apply()
    assert await limit(mesh, stream) == GIVEN[stream]


async def test_a_stream_that_would_be_half_full_at_once_is_left_as_it_is(
    mesh: LocalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_limit(mesh, "INTAKE", -1)
    await mesh.publish("orders.placed", b"x" * 600_000)
    monkeypatch.setattr("jetmesh.topology.streams.INTAKE_BYTES_MAX", 1_000_000)
    await mesh.apply()
    assert await limit(mesh, "INTAKE") == -1


@pytest.mark.parametrize(("stream", "subject"), [("INTAKE", "orders.placed"), ("DEAD_LETTERS", "dead.a.b.c.1")])
async def test_doctor_says_that_a_stream_is_nearly_full(mesh: LocalMesh, stream: str, subject: str) -> None:
    await set_limit(mesh, stream, 1_000_000)
    await mesh.publish(subject, b"x" * 850_000)
    (finding,) = await room(mesh)
    assert finding.grade is Grade.WRONG
    assert finding.found == f"{stream} holds 0.9 MB of the 1.0 MB that it may"
    assert "--max-bytes" in finding.fix


async def test_a_broker_with_less_room_gives_what_it_has(small: Broker) -> None:
    async with LocalMesh(SERVICES, [], {"NATS_URL": small.url}) as mesh:
        limits = {stream: await limit(mesh, stream) for stream in GIVEN}
        assert 64 << 20 <= limits["INTAKE"] < INTAKE_BYTES_MAX
        assert sum(limits.values()) < 1500 << 20
        steps = await provision.plan(mesh.context.connection, mesh.topology)
        assert {step.change for step in steps} == {provision.Change.KEEP}
