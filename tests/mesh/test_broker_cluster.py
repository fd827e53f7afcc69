"""The mesh on three brokers, by settings alone; one of them is killed while orders pour in."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jetmesh.commands.target import connected_with
from jetmesh.contracts import registry
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.headers import encode_headers
from jetmesh.local.plan import Plan
from jetmesh.local.ports import chosen
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec, Supervisor
from jetmesh.operate.load import publish
from jetmesh.operate.progress import progress
from jetmesh.runtime.context import Context
from jetmesh.testing import until
from jetmesh.topology import nkeys
from jetmesh.topology.provision import Drift
from jetmesh.topology.streams import topology
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import mix, stock
from jetmesh_shop.reference.audit import AFTER_CRASHES, collect
from jetmesh_shop.reference.backing import BACKING, shop
from jetmesh_shop.reference.books import ENDINGS
from tests.chaos import brokers
from tests.chaos.network import Network

ORDERS = 300
RATE = 50
"""Orders a second: slow enough that a killed broker is missed by most of them."""
WITHIN_SECONDS = 120.0
LOOPBACK = Network(())
NEEDED = topology(SERVICES)
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


@dataclass
class Cluster:
    """Three brokers, and the processes that run on them."""

    nodes: list[brokers.Node]
    plan: Plan
    machines: dict[str, Supervisor] = field(default_factory=dict)

    @classmethod
    def on(cls, state: StateFolder) -> "Cluster":
        """The demo's plan, at the addresses of all three."""
        nodes = brokers.nodes(LOOPBACK, 3)
        ports = chosen(BACKING.ports, {}, free=True, own_broker=True)
        return cls(nodes, shop(state, ports, ",".join(node.url for node in nodes)))

    @property
    def state(self) -> StateFolder:
        """The folder of everything."""
        return self.plan.state

    async def start(self, specs: list[Spec]) -> None:
        """Start these, and wait until they serve."""
        machines = [Supervisor(spec, self.state, lambda words: None) for spec in specs]
        self.machines |= {machine.name: machine for machine in machines}
        await asyncio.gather(*(machine.start() for machine in machines))

    async def stop(self) -> None:
        """The last first."""
        for machine in reversed(self.machines.values()):
            await machine.stop()

    async def jetmesh(self, *arguments: str, **settings: str) -> "Said":
        """Run a command as an operator does."""
        seed = nkeys.seed_file(self.state.keys, "operator")
        own = {"NATS_URL": self.plan.nats_url, "JETMESH_NATS_NKEY_SEED": str(seed), **settings}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "jetmesh", *arguments, "--app", "jetmesh_shop.flow:SERVICES",
            env={**os.environ, **own}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        text, _ = await process.communicate()
        return Said(process.returncode or 0, text.decode())


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    status: int
    text: str

    @property
    def findings(self) -> dict[str, list[Mapping[str, Any]]]:
        """What `doctor --json` found, by topic."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for finding in json.loads(self.text)["findings"]:
            found.setdefault(finding["topic"], []).append(finding)
        return found


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three brokers that have found each other, and nothing else."""
    async with AsyncExitStack() as stack:
        made = Cluster.on(StateFolder(tmp_path))
        stack.push_async_callback(made.stop)
        await made.start([brokers.spec(made.state, node, made.nodes, LOOPBACK) for node in made.nodes])
        yield made


async def applied(cluster: Cluster, **settings: str) -> Said:
    """`jetmesh topology apply`, once the brokers have elected who decides where a stream lies."""
    said: list[Said] = []

    async def done() -> bool:
        said[:] = [await cluster.jetmesh("topology", "apply", **settings)]
        return said[0].status != 2

    await until(done, WITHIN_SECONDS, "the topology is applied")
    return said[0]


async def test_copies_are_a_setting_and_are_never_lost_by_forgetting_it(cluster: Cluster) -> None:
    assert (await applied(cluster)).status == 0
    (alone,) = (await cluster.jetmesh("doctor", "--json")).findings["replicas"]
    assert (alone["grade"], "JETMESH_REPLICAS=3" in alone["fix"]) == ("doubt", True)

    assert (await applied(cluster, JETMESH_REPLICAS="3")).status == 0
    async with connected_with(cluster.plan.nats_args("operator")) as operator:
        for name in [*(stream.name for stream in NEEDED.streams), registry.stream().name]:
            info = await api.request(operator.connection, f"STREAM.INFO.{name}", strict=True)
            assert info["config"]["num_replicas"] == 3, name
        ask = partial(
            operator.connection.ask, "orders.placed", b"{}", headers=encode_headers({"Nats-Msg-Id": "chosen"})
        )
        assert not [ack for ack in [json.loads(await ask()) for _ in range(2)] if "duplicate" in ack]

    forgotten = await cluster.jetmesh("topology", "apply")
    assert (forgotten.status, "set JETMESH_REPLICAS=3" in forgotten.text) == (3, True)

    await doctor_says(cluster, "3 of each stream on a cluster, all of them whole")
    await cluster.machines.pop("nats-3").stop()
    await doctor_says(cluster, "ORDERS: the copy on nats-3 is offline")


async def test_with_one_of_three_away_a_topology_is_applied(cluster: Cluster) -> None:
    """An update, a durable that is missing, and the contracts; their bucket has three copies as everything has."""
    assert (await applied(cluster, JETMESH_REPLICAS="3")).status == 0
    async with connected_with(cluster.plan.nats_args("operator")) as operator:
        connection = operator.connection
        bucket = await api.request(connection, "STREAM.INFO.KV_jetmesh_contracts", strict=True)
        assert bucket["config"]["num_replicas"] == 3
        await api.request(connection, "CONSUMER.DELETE.ORDERS.payments-authorize", strict=True)
        intake = await api.request(connection, "STREAM.INFO.INTAKE", strict=True)
        await api.request(connection, "STREAM.UPDATE.INTAKE", {**intake["config"], "discard": "old"}, strict=True)
    for away in ("nats-3", "nats-1"):
        await cluster.machines[away].stop()
        said = await applied(cluster, JETMESH_REPLICAS="3")
        assert said.status == 0, said.text
        async with connected_with(cluster.plan.nats_args("operator")) as operator:
            info = await api.request(operator.connection, "CONSUMER.INFO.ORDERS.payments-authorize", strict=True)
            assert info["config"]["filter_subjects" if "filter_subjects" in info["config"] else "filter_subject"]
            await api.request(operator.connection, "CONSUMER.DELETE.ORDERS.payments-authorize", strict=True)
            assert "orders.placed" in await registry.fetch(operator.connection)
        await cluster.machines[away].start()
        await doctor_says(cluster, "3 of each stream on a cluster, all of them whole")


async def test_what_is_offline_is_told_by_its_name_and_never_removed(cluster: Cluster) -> None:
    """The only copy of a stream is on a server that is away: its durables belong to reactions all the same."""
    assert (await applied(cluster)).status == 0
    async with connected_with(cluster.plan.nats_args("operator")) as operator:
        info = await api.request(operator.connection, "STREAM.INFO.ORDERS", strict=True)
    await cluster.machines[info["cluster"]["leader"]].stop()
    told: dict[str, str] = {}

    async def found() -> bool:
        told.clear()
        for finding in (await cluster.jetmesh("doctor", "--json")).findings.get("durables", []):
            told[finding["found"]] = finding["fix"]
        return any("ORDERS/payments-authorize is offline" in words for words in told)

    await until(found, WITHIN_SECONDS, "the doctor says that the durable is offline")
    assert not [words for words in told if "belongs to no reaction" in words]
    assert all(fix.startswith("start the server that has it") for fix in told.values())


async def test_what_is_new_is_made_with_one_of_three_away(cluster: Cluster) -> None:
    """Streams that are not there yet."""
    await applied(cluster, JETMESH_REPLICAS="3")
    async with connected_with(cluster.plan.nats_args("operator")) as operator:
        await api.request(operator.connection, "STREAM.DELETE.DEAD_LETTERS", strict=True)
    await cluster.machines["nats-3"].stop()
    said = await cluster.jetmesh("topology", "apply", JETMESH_REPLICAS="3")
    assert said.status == 0, said.text


async def test_a_broker_killed_in_a_burst_costs_no_order(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JETMESH_REPLICAS": "3", "JETMESH_ACK_WAIT_SECONDS": "5", **QUIET}.items():
        monkeypatch.setenv(name, value)
    assert (await applied(cluster)).status == 0
    await cluster.start([*cluster.plan.beside(), *(cluster.plan.service(each.name) for each in SERVICES)])
    async with connected_with(cluster.plan.nats_args("operator")) as operator:
        await stock.seed(operator)
        orders = list(mix.orders("burst", ORDERS, seed=1))
        burst = asyncio.create_task(placed(operator, orders))
        await ended(operator, cluster.state, ORDERS // 6)
        name, pid = await kill_leader(cluster, operator, "ORDERS")
        assert not burst.done()
        await until(lambda: cluster.machines[name].pid not in (0, pid), WITHIN_SECONDS, f"{name} runs again")
        await burst
        await ended(operator, cluster.state, ORDERS)
        await until(nothing_waits(operator), WITHIN_SECONDS, "everything is settled")
        books = await collect(operator, cluster.state)
        offences = [finding for finding in AFTER_CRASHES.of(books).findings if finding.offences]
        assert not offences
        assert not books.letters
        await doctor_says(cluster, "3 of each stream on a cluster, all of them whole")


async def placed(operator: Context, orders: list[OrderPlaced]) -> None:
    """Place the orders at a steady rate, each until the broker has it."""
    async with asyncio.TaskGroup() as group:
        for order in orders:
            group.create_task(publish(operator, order))
            await asyncio.sleep(1 / RATE)


async def kill_leader(cluster: Cluster, operator: Context, stream: str) -> tuple[str, int]:
    """SIGKILL the broker that leads the stream; its name and the process that it was."""
    info = await api.request(operator.connection, f"STREAM.INFO.{stream}", strict=True)
    name = str(info["cluster"]["leader"])
    pid = cluster.machines[name].pid
    os.kill(pid, signal.SIGKILL)
    return name, pid


async def ended(operator: Context, state: StateFolder, count: int) -> None:
    """Wait until so many orders have ended."""

    async def enough() -> bool:
        with suppress(Unavailable):
            stories = (await collect(operator, state)).stories
            return sum(any(end in story for end in ENDINGS) for story in stories.values()) >= count
        return False

    await until(enough, WITHIN_SECONDS, f"{count} orders have ended")


def nothing_waits(operator: Context) -> Callable[[], Any]:
    """Whether nobody has anything to do any more, but for deadlines."""

    async def idle() -> bool:
        with suppress(Unavailable, ApiError, Drift):
            return (await progress(operator.connection, NEEDED.work)).waiting == 0
        return False

    return idle


async def doctor_says(cluster: Cluster, words: str) -> None:
    """Wait until it is among what the doctor finds about the copies."""

    async def said() -> bool:
        found = (await cluster.jetmesh("doctor", "--json", JETMESH_REPLICAS="3")).findings
        return words in [finding["found"] for finding in found.get("replicas", [])]

    await until(said, WITHIN_SECONDS, f"the doctor says {words!r}")
