"""The contracts that are deployed, kept at the broker: what was ever deployed is compared with."""

import asyncio

import pytest
from click.testing import CliRunner

from jetmesh.commands.contracts import contracts
from jetmesh.commands.topology import topology
from jetmesh.contracts import registry
from jetmesh.contracts.compatibility import Mode, check
from jetmesh.contracts.package import contracts_of
from jetmesh.contracts.releases import NoRelease
from jetmesh.contracts.schema import Contract, contract, mapped
from jetmesh.jetstream.connection import Connection
from jetmesh.testing import Broker
from jetmesh_contracts import EVENTS, REQUESTS, OrderCancelled, OrderPlaced, PaymentDeclined
from jetmesh_shop.flow import SERVICES

PLACED, CANCELLED = contract(OrderPlaced), contract(OrderCancelled)


def without_reason(reason: str) -> Contract:
    """orders.cancelled with one reason less."""

    def change(node: dict[str, object]) -> dict[str, object]:
        values = node.get("enum")
        return {**node, "enum": [v for v in values if v != reason]} if isinstance(values, list) else node

    return Contract(CANCELLED.type, mapped(CANCELLED.producer, change), mapped(CANCELLED.consumer, change))


async def test_what_is_published_is_fetched(connection: Connection) -> None:
    wanted = {PLACED.type: PLACED, CANCELLED.type: CANCELLED}
    assert sorted(await registry.publish(connection, wanted)) == sorted(wanted)
    assert await registry.fetch(connection) == wanted


async def test_publishing_again_writes_nothing(connection: Connection) -> None:
    await registry.publish(connection, {PLACED.type: PLACED})
    assert await registry.publish(connection, {PLACED.type: PLACED}) == []


async def test_what_is_gone_stays_until_it_is_retired(connection: Connection) -> None:
    await registry.publish(connection, {PLACED.type: PLACED, CANCELLED.type: CANCELLED})
    assert await registry.publish(connection, {PLACED.type: PLACED}) == []
    await registry.retire(connection, CANCELLED.type, "orders can't be cancelled any more")
    assert (await registry.fetch(connection)).keys() == {PLACED.type}
    with pytest.raises(LookupError, match=r"no contract orders\.cancelled is deployed; there are orders\.placed"):
        await registry.retire(connection, CANCELLED.type, "again")


async def test_a_contract_has_one_app_and_keeps_it(connection: Connection) -> None:
    await registry.publish(connection, {PLACED.type: PLACED})
    assert await registry.publish(connection, {PLACED.type: PLACED}, app="shop", version="1.0") == [PLACED.type]
    assert await registry.publish(connection, {PLACED.type: PLACED}) == []
    entry = (await registry.entries(connection))[PLACED.type]
    assert (entry.app, entry.version) == ("shop", "1.0")
    with pytest.raises(registry.Owned, match="the app shop owns it, and the app kiosk would be a second owner"):
        await registry.publish(connection, {PLACED.type: PLACED}, app="kiosk")
    assert await registry.publish(connection, {PLACED.type: PLACED}, app="kiosk", take_over="shop") == [PLACED.type]


async def test_what_another_mesh_deployed_stays(connection: Connection) -> None:
    declined = contract(PaymentDeclined)
    await registry.publish(connection, {declined.type: declined})
    assert await registry.publish(connection, {PLACED.type: PLACED}) == [PLACED.type]
    assert await registry.fetch(connection) == {PLACED.type: PLACED, declined.type: declined}


async def test_the_contracts_of_services_can_be_deployed_without_a_package(connection: Connection) -> None:
    found = contracts_of(SERVICES)
    await registry.publish(connection, found)
    assert (await registry.fetch(connection)).keys() == found.keys() >= {"orders.placed", "stock.level"}


async def test_every_version_that_was_deployed_is_compared_with(connection: Connection) -> None:
    for version in (CANCELLED, without_reason("timed_out")):
        await registry.publish(connection, {PLACED.type: PLACED, CANCELLED.type: version})
    past = await registry.history(connection)
    new = await registry.fetch(connection)
    assert [len(release) for release in past] == [2, 2]
    assert check(new, past, Mode.BACKWARD) == []
    assert [(each.rule, each.detail) for each in check(new, past)] == [("enum-value-removed", '"timed_out"')]


async def test_a_broker_without_contracts_says_so(connection: Connection) -> None:
    with pytest.raises(NoRelease, match="topology apply"):
        await registry.history(connection)


def test_the_commands_publish_what_is_deployed_and_check_against_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NATS_URL": broker.url, "JETMESH_CONTRACTS": "jetmesh_contracts"}.items():
        monkeypatch.setenv(name, value)
    unpublished = CliRunner().invoke(contracts, ["check", "--against", "nats"])
    assert isinstance(unpublished.exception, NoRelease)
    assert "orders.placed" in CliRunner().invoke(contracts, ["publish"]).output
    assert CliRunner().invoke(contracts, ["publish"]).output == ""
    checked = CliRunner().invoke(contracts, ["check", "--against", "nats", "--app", "jetmesh_shop.flow:SERVICES"])
    said = f"{len(EVENTS) + len(REQUESTS)} contracts, 1 compared with, 0 breaking changes\n"
    assert (checked.exit_code, checked.output) == (0, said)


async def test_a_topology_whose_contracts_break_what_is_deployed_is_refused(
    broker: Broker, connection: Connection
) -> None:
    """What is deployed has a reason that the services do not know: they would not read what others recorded."""
    was = contract(OrderCancelled)

    def with_one_more(node: dict[str, object]) -> dict[str, object]:
        values = node.get("enum")
        return {**node, "enum": [*values, "eaten"]} if isinstance(values, list) else node

    deployed = dict(contracts_of(SERVICES))
    deployed[was.type] = Contract(was.type, mapped(was.producer, with_one_more), mapped(was.consumer, with_one_more))
    await registry.publish(connection, deployed)
    refused = await asyncio.to_thread(CliRunner(env={"NATS_URL": broker.url}).invoke, topology, ["apply"])

    assert refused.exit_code == 3
    assert "orders.cancelled reason: enum-value-removed" in refused.output
    assert await registry.fetch(connection) == deployed
