"""A busy owner's stream split by key: the whole mesh on it, each guard as strong as on one stream, no second split."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jetmesh.failure import Unavailable
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.group_commit import GroupCommit
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.local.state import StateFolder
from jetmesh.operate.key_history import story
from jetmesh.runtime.context import Context
from jetmesh.testing import Broker, MeshOf
from jetmesh.topology import accounts, nkeys, provision
from jetmesh.topology.partitions import PartitionedDirectGet, lane, names, partition_of
from jetmesh.topology.provision import Drift
from jetmesh.topology.streams import Topology, topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.audit import AUDIT, collect
from tests.mesh.routing import PARTITIONS, SPLIT, routing_broker
from tests.mesh.whole import whole_mesh
from tests.support.samples import body


@pytest.fixture
def nats_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker whose configuration routes by key."""
    with routing_broker(tmp_path, SPLIT) as server:
        yield server


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connection]:
    """A connection, closed afterwards."""
    opened = Connection()
    await opened.open(url, "test", **options)
    try:
        yield opened
    finally:
        await opened.close()


async def apply(connection: Connection, wanted: Topology) -> None:
    """Make the broker have it."""
    await provision.apply(connection, await provision.plan(connection, wanted))


async def test_the_whole_mesh_runs_on_split_streams(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [f"o-{number}" for number in range(60)]
    async with whole_mesh(mesh_of, tmp_path, monkeypatch, JETMESH_PARTITIONS=PARTITIONS) as whole:
        await asyncio.gather(*(whole.mesh.publish("orders.placed", body(key)) for key in orders for _ in range(2)))
        await whole.is_balanced(await whole.ended(*orders))
        audited = AUDIT.of(await collect(whole.mesh.context, StateFolder(tmp_path))).findings
        assert not [finding for finding in audited if finding.offences]
        told = [event.type for event in await story(whole.mesh.context, SERVICES, orders[0])]
        assert told.count("orders.placed") == told.count("orders.confirmed") == 1
        for stream in SPLIT:
            found = {part: await keys_in(whole.mesh.context, part) for part in names(stream, SPLIT)}
            assert all(found.values()), f"a partition of {stream} is empty"
            assert found == {f"{stream}-{n}": {k for k in orders if partition_of(k, 2) == n} for n in range(2)}


async def keys_in(context: Context, stream: str) -> set[str]:
    """The keys that a stream holds."""
    return {message.key for message in await context.direct_get.last(stream, ["*.placed.*", "*.authorized.*"])}


async def test_the_broker_and_the_mesh_agree_on_the_partition_of_a_key(connection: Connection) -> None:
    await apply(connection, topology(SERVICES, split=SPLIT))
    for key in ("o-1042", "o-1043", "ORDER_7", "a", "50%25", "é", "x" * 200):
        answer = await connection.ask(f"orders.placed.{key}", b"{}")
        assert f'"stream":"ORDERS-{partition_of(key, 2)}"' in answer.decode(), key


@pytest.mark.parametrize("is_guarded", [False, True], ids=["one account", "an account per service"])
async def test_of_two_writers_of_a_story_the_broker_refuses_one(
    broker: Broker, tmp_path: Path, is_guarded: bool
) -> None:
    async with writers(broker, tmp_path, is_guarded=is_guarded) as (publisher, reader):
        for number in range(50):
            key = f"o-{number}"
            outcomes = await asyncio.gather(*map(publisher.record, [begins(key)] * 2), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes if not isinstance(outcome, int)] == [Refused]
            (recorded,) = await reader.last("ORDERS", [f"orders.*.{key}"])
            assert recorded.subject == f"orders.placed.{key}"


def begins(key: str) -> Message:
    """The first event of a story."""
    return Message(f"orders.placed.{key}", b"{}", {}, Guard(f"orders.*.{key}", 0))


async def test_a_batch_is_of_one_partition(connection: Connection) -> None:
    await apply(connection, topology(SERVICES, split=SPLIT))
    publisher, _ = await started(connection)
    in_lanes = GroupCommit(publisher, lane(SERVICES, SPLIT))
    await asyncio.gather(*(in_lanes.record(begins(f"o-{number}")) for number in range(500)))
    assert publisher.refused == 0
    together = GroupCommit(publisher, lambda subject: "all together")
    await asyncio.gather(*(together.record(begins(f"p-{number}")) for number in range(500)))
    assert publisher.refused > 0


@asynccontextmanager
async def writers(
    broker: Broker, folder: Path, *, is_guarded: bool
) -> AsyncIterator[tuple[Publisher, PartitionedDirectGet]]:
    """What orders records and reads with, in the one account or in its own."""
    if not is_guarded:
        async with connected(broker.url) as connection:
            await apply(connection, topology(SERVICES, split=SPLIT))
            yield await started(connection)
        return
    config = folder / "accounts.conf"
    config.write_text(accounts.configuration(SERVICES, nkeys.ensure(folder / "keys", nkeys.users(SERVICES)), SPLIT))
    with Broker(folder / "guarded", "-c", str(config)) as guarded:
        async with connected(guarded.url, nkeys_seed_str=seed(folder, "operator")) as operator:
            await apply(operator, topology(SERVICES, split=SPLIT))
        async with connected(guarded.url, nkeys_seed_str=seed(folder, "orders")) as connection:
            yield await started(connection)


def seed(folder: Path, user: str) -> str:
    """A user's key."""
    return nkeys.seed_file(folder / "keys", user).read_text().strip()


async def started(connection: Connection) -> tuple[Publisher, PartitionedDirectGet]:
    """Both, at work."""
    publisher, reader = Publisher(connection), PartitionedDirectGet(connection, SPLIT)
    await publisher.start()
    await reader.start()
    return publisher, reader


async def test_a_broker_that_counts_otherwise_takes_nothing(connection: Connection) -> None:
    await apply(connection, topology(SERVICES, split={"ORDERS": 3, "PAYMENTS": 2}))
    publisher, _ = await started(connection)
    with pytest.raises(Unavailable, match="no stream takes this subject"):
        await publisher.record(Message("orders.placed.o-1", b"{}", {}))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"ORDERS": 2}, "refuse stream ORDERS-0: ORDERS is there"),
        ({"ORDERS": 2}, {}, "refuse stream ORDERS: ORDERS-0 is there"),
        ({"ORDERS": 2}, {"ORDERS": 3}, "refuse stream ORDERS-0: the stream holds messages of partition.2.0.orders"),
    ],
)
async def test_a_stream_is_never_split_otherwise_afterwards(
    connection: Connection, before: dict[str, int], after: dict[str, int], told: str
) -> None:
    await apply(connection, topology(SERVICES, split=before))
    with pytest.raises(Drift, match=told.replace(".", r"\.")):
        await apply(connection, topology(SERVICES, split=after))


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ({"INVENTORY": 2}, r"INVENTORY can't be split: inventory\.shelve commits events of many keys at once"),
        ({"ORDER": 2}, "no service records into ORDER; there are ORDERS, PAYMENTS"),
    ],
)
def test_what_can_not_be_split_is_told(split: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=f"JETMESH_PARTITIONS: {told}"):
        topology(SERVICES, split=split)
