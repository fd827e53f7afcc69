"""The occurrences of a key are in the stream of its partition."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetmesh.testing import Broker, MeshOf
from jetmesh.topology import accounts
from tests.support.chat import MessageSent, sending


@pytest.fixture
def nats_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that routes the events of chat by key."""
    pairs = accounts.mappings([sending()], {"CHAT": 2}).items()
    config = tmp_path / "nats-server.conf"
    config.write_text("mappings {\n" + "\n".join(f'"{source}": "{to}"' for source, to in pairs) + "\n}\n")
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


async def test_the_occurrences_of_a_key_are_in_its_partition(mesh_of: MeshOf) -> None:
    service = sending()
    mesh = await mesh_of(service, JETMESH_PARTITIONS="chat=2")
    said = [MessageSent(room_id=f"room-{number % 5}", message_id=f"m-{number}") for number in range(20)]
    await asyncio.gather(*(mesh.outside(message) for message in [*said, *said]))
    await mesh.settled()
    counts = [await mesh.count(f"CHAT-{number}") for number in range(2)]
    assert (sum(counts), all(counts)) == (20, True)
    assert len(await mesh.occurrences(MessageSent, "room-3")) == 4
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await mesh.start(service)
    await mesh.settled()
    assert [await mesh.count(f"CHAT-{number}") for number in range(2)] == counts
