"""Tenants by a prefix: the same app several times in one account of one broker, and none sees another's."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import jetmesh
from jetmesh.commands import commands
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.tenant import Tenant
from jetmesh.jetstream.tenant_names import FIELDS, from_wire, to_wire
from jetmesh.jetstream.transport import API, Transport
from jetmesh.local.state import StateFolder
from jetmesh.operate.deployment import needed
from jetmesh.operate.service_answers import Stats, ask_everybody
from jetmesh.settings import Settings, SettingsError, read
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.topology import account_parts, accounts, console_users, nkeys, provision
from jetmesh.topology.tenants import LISTED, on_wire
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.audit import AUDIT, collect
from tests.mesh.whole import Whole, whole_mesh
from tests.support import teams
from tests.support.samples import body

TENANTS = ("acme", "berlin")


async def streams_on(broker: Transport) -> set[str]:
    """The names of all streams, as the broker has them."""
    return set(await api.stream_names(broker))


@pytest.fixture
async def bare(broker: Broker) -> Any:
    """A connection that knows no tenant."""
    connection = Connection()
    await connection.open(broker.url, "bare", within_seconds=10)
    yield connection
    await connection.close()


async def test_the_reference_mesh_runs_twice_under_the_same_ids(
    mesh_of: MeshOf, bare: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the orders that were placed with it, ends them, and its books are clean."""
    folders = {tenant: tmp_path / tenant for tenant in TENANTS}
    for folder in folders.values():
        folder.mkdir()
    first, second = TENANTS
    said: list[tuple[str, bytes]] = []
    await bare.listen(">", lambda subject, _reply, _headers, data: said.append((subject, data)))
    async with (
        whole_mesh(mesh_of, folders[first], monkeypatch, JETMESH_TENANT=first) as one,
        whole_mesh(mesh_of, folders[second], monkeypatch, JETMESH_TENANT=second) as other,
    ):
        both = ["o-1", "o-2"]
        for whole, orders in ((one, [*both, "o-3"]), (other, both)):
            await asyncio.gather(*(whole.mesh.publish("orders.placed", body(key)) for key in orders))
        ended = await one.ended(*both, "o-3"), await other.ended(*both)
        await one.is_balanced(ended[0])
        await other.is_balanced(ended[1])
        assert await other.mesh.story("o-3") == []
        assert [await each.level("pizza-margherita") for each in (one, other)] == [1_000 - 6, 1_000 - 4]
        for whole, folder in ((one, folders[first]), (other, folders[second])):
            assert await offences(whole, folder) == []
        for whole in (one, other):
            await whole.mesh.until(partial(answering, whole, "STATS.orders", 1), what="orders answers once")
            await whole.mesh.until(partial(answering, whole, "PING", len(SERVICES)), what="all answer, once")
        own = {stream for tenant in TENANTS for stream in of_tenant(tenant)}
        assert await streams_on(bare) == own
    calls = [each for each in said if each[0].startswith(f"{API}.")]
    assert {f"{API}.CONSUMER.MSG.NEXT.acme_INTAKE.orders-intake", f"{API}.DIRECT.GET.berlin_ORDERS"} <= {
        subject for subject, _ in calls
    }
    assert sorted({subject for subject, _ in said if not is_named(subject)}) == []
    assert [each for each in calls if not is_whole(*each)] == []


SERVERS_OWN = ("_", "$SRV.PING", "$JS.EVENT.ADVISORY.", "$JS.S.", "$JSC.R.")
"""What the server publishes, the addresses of answers, and the request to everybody."""


def is_named(subject: str) -> bool:
    """Whether a subject bears the name of a tenant, or that of nobody's stream."""
    if subject in (f"{API}.{call}" for call in LISTED) or subject.startswith(SERVERS_OWN):
        return True
    return any(subject.startswith(f"{tenant}.") or f".{tenant}_" in subject for tenant in TENANTS)


def is_whole(subject: str, data: bytes) -> bool:
    """Whether each name in the body of a call is the tenant's: so it comes back as it was."""
    call = subject.removeprefix(f"{API}.")
    tenant = next((each for each in TENANTS if f".{each}_" in subject), "")
    if not tenant or not data or b'"$JS.S.' in data:  # the server makes a consumer of its own for each source
        return True
    fields, body = FIELDS[call.partition(".")[0]], json.loads(data)
    ours = from_wire(tenant).body(fields, body)
    strange = [text for text in texts(ours) if text.startswith((f"{tenant}.", f"{tenant}_"))]
    return not strange and to_wire(tenant).body(fields, ours) == body


async def answering(whole: Whole, what: str, count: int) -> bool:
    """Whether so many answer to `nats micro`."""
    return len(await ask_everybody(whole.mesh.context.connection, f"$SRV.{what}", Stats)) == count


async def offences(whole: Whole, folder: Path) -> list[str]:
    """What the audit finds in the books of one tenant."""
    found = AUDIT.of(await collect(whole.mesh.context, StateFolder(folder)))
    assert found.is_clean == (not found.as_json()["offences"])
    return [offence for finding in found.findings for offence in finding.offences]


def of_tenant(tenant: str) -> set[str]:
    """The streams of the reference mesh of a tenant."""
    return {stream.name for stream in on_wire(needed(SERVICES, Settings()), tenant).streams}


def command(broker: Broker, *arguments: str, tenant: str = "", **more: str) -> str:
    """What a command says to the operator of a tenant."""
    said = {"NATS_URL": broker.url, "JETMESH_APP": "tests.support.teams:KITCHEN", "JETMESH_TENANT": tenant, **more}
    ran = CliRunner(env=said).invoke(commands, arguments)
    assert ran.exit_code == 0, ran.output + str(ran.exception or "")
    return ran.output


async def test_what_an_operator_does_for_one_tenant_changes_nothing_of_another(
    broker: Broker, bare: Connection, tmp_path: Path
) -> None:
    """Nor of the app without one: durables are pruned and paused, letters discarded, streams restored."""
    everybody: dict[str, Transport] = {"": bare, **{name: Tenant(bare, name) for name in TENANTS}}
    for tenant in everybody:
        await asyncio.to_thread(command, broker, "topology", "apply", tenant=tenant)
    stray = {"stream_name": "KITCHEN", "config": {"durable_name": "kitchen-gone", "ack_policy": "explicit",
             "description": "jetmesh work of kitchen"}}  # fmt: skip
    for connection in everybody.values():
        await api.request(connection, "CONSUMER.CREATE.KITCHEN.kitchen-gone", stray, strict=True)
        await connection.ask("dishes.ordered", b'{"dish_id": "d-1"}')
    await asyncio.to_thread(command, broker, "topology", "apply", "--prune", tenant="acme")
    await asyncio.to_thread(command, broker, "pause", "kitchen.cook", tenant="acme")
    await asyncio.to_thread(command, broker, "backup", str(tmp_path / "backup"), tenant="acme")
    kept = {tenant: await durables(connection) for tenant, connection in everybody.items()}
    paused = {tenant: names["kitchen-cook"] for tenant, names in kept.items()}
    assert paused == {"": False, "acme": True, "berlin": False}
    assert {tenant: "kitchen-gone" in names for tenant, names in kept.items()} == {
        "": True, "acme": False, "berlin": True,
    }  # fmt: skip
    with pytest.raises(AssertionError, match=r"the backup is one of JETMESH_TENANT=acme, .*: set it so"):
        await asyncio.to_thread(command, broker, "restore", str(tmp_path / "backup"), tenant="berlin")
    for stream in await api.stream_names(everybody["acme"]):
        await api.request(everybody["acme"], f"STREAM.DELETE.{stream}", strict=True)
    state = {"JETMESH_STATE": str(tmp_path / "state")}
    await asyncio.to_thread(command, broker, "restore", str(tmp_path / "backup"), tenant="acme", **state)
    held = [(await api.request(each, "STREAM.INFO.INTAKE"))["state"]["messages"] for each in everybody.values()]
    assert held == [1, 1, 1]
    assert await api.stream_names(everybody["berlin"]) == await api.stream_names(everybody["acme"])


async def durables(connection: Transport) -> dict[str, bool]:
    """The durables of the kitchen, and which of them is paused."""
    infos = await api.consumers_of(connection, "KITCHEN")
    return {info["name"]: bool(info.get("paused")) for info in infos}


async def test_a_tenant_is_not_named_as_an_entity(broker: Broker) -> None:
    with pytest.raises(AssertionError, match="JETMESH_TENANT=dishes: types of this app begin with this word"):
        await asyncio.to_thread(command, broker, "topology", "apply", tenant="dishes")


@pytest.mark.parametrize(
    ("tenant", "words"),
    [
        ("Acme", "'Acme' is no tenant; write small letters, digits and dashes, a letter first, at most 32"),
        ("a.b", "'a.b' is no tenant"),
        ("a_b", "'a_b' is no tenant"),
        ("x" * 33, "'x{33}' is no tenant"),
        ("dead", "'dead' is the first word of subjects of the mesh itself; write another name"),
    ],
)
def test_a_name_that_is_none_is_refused(tenant: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"JETMESH_TENANT: {words}"):
        read(Settings, {"JETMESH_TENANT": tenant})


def test_what_is_printed_for_others_has_the_names_of_the_broker(tmp_path: Path) -> None:
    """Custom resources, values of the chart, the document for a stranger."""
    run = CliRunner(env={"JETMESH_APP": "jetmesh_shop.flow:SERVICES", "JETMESH_TENANT": "acme"})
    resources = run.invoke(commands, ["topology", "export", "--format", "nack"]).output
    assert "name: acme_ORDERS" in resources
    assert "- acme.orders.*.*" in resources
    assert "streamName: acme_PAYMENTS" in resources
    assert run.invoke(commands, ["topology", "values"]).output.startswith("tenant: acme\nservices:\n")
    wrote = run.invoke(commands, ["contracts", "generate", "--document", str(tmp_path)])
    assert wrote.exit_code == 0, wrote.output
    document = json.loads((tmp_path / "asyncapi.json").read_text())
    assert document["channels"]["orders.placed"]["address"] == "acme.orders.placed.{order_id}"
    assert set(document["x-jetstream-streams"]) >= {"acme_ORDERS", "acme_INTAKE", "acme_DEAD_LETTERS"}
    named = [text for text in texts(document["operations"]) if "CONSUMER.MSG.NEXT" in text or "DIRECT.GET" in text]
    assert named
    assert all(".acme_" in text for text in named)
    assert "acme.orders.placed" in (tmp_path / "index.html").read_text()


def texts(value: Any) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker with the accounts of the kitchen for two tenants and for none, each with keys of its own."""
    app = teams.KITCHEN
    files = []
    for tenant in ("", *TENANTS):
        users = nkeys.ensure(keys_of(tmp_path, tenant), nkeys.users(app))
        own = accounts.under_prefix(accounts.part_of(app.name, app, users), tenant, app)
        files.append(tmp_path / f"{app.name}@{tenant}.json")
        account_parts.write(console_users.with_console(own, app, users), files[-1])
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged(account_parts.read(files)))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


def keys_of(folder: Path, tenant: str) -> Path:
    return folder / f"keys-{tenant or 'nobody'}"


def as_user(broker: Broker, keys: Path, user: str, tenant: str) -> dict[str, str]:
    """The settings of a user."""
    told = {"NATS_URL": broker.url, "JETMESH_NATS_NKEY_SEED": str(keys / f"{user}.nk"), "JETMESH_TENANT": tenant}
    is_service = user == "kitchen"
    micro = {"JETMESH_NATS_MICRO_NKEY_SEED": str(keys / "kitchen-micro.nk")} if is_service else {}
    return told | micro | ({"JETMESH_NATS_API_PREFIX": accounts.API_PREFIX} if is_service else {})


async def test_with_accounts_each_tenant_works_and_reaches_nothing_of_another(
    guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service, its operator and a client outside; whoever forgets the prefix is refused by the server."""
    app = teams.KITCHEN
    for tenant in ("", *TENANTS):
        keys = keys_of(tmp_path, tenant)
        async with LocalMesh(app, [], as_user(guarded, keys, "operator", tenant)) as mesh:
            await mesh.start(app[0], **as_user(guarded, keys, "kitchen", tenant))
            monkeypatch.setenv("JETMESH_TENANT", tenant)
            monkeypatch.setenv("JETMESH_NATS_INBOX_PREFIX", accounts.inbox_of("client"))
            async with jetmesh.connect(guarded.url, nkey_seed=keys / "client.nk", name="client") as client:
                await client.publish(teams.Ordered(dish_id=f"d-{tenant}"))
            await mesh.recorded(teams.Cooked, f"d-{tenant}")
            await mesh.settled()
            assert await mesh.count("KITCHEN") == 2
            assert await mesh.dead_letters() == []


FORGOTTEN = ("STREAM.INFO.KITCHEN", "STREAM.DELETE.KITCHEN", "STREAM.PURGE.INTAKE", "CONSUMER.LIST.KITCHEN",
             "CONSUMER.DELETE.KITCHEN.kitchen-cook", "STREAM.MSG.GET.KITCHEN", "DIRECT.GET.KITCHEN",
             "STREAM.DELETE.berlin_KITCHEN", "CONSUMER.CREATE.KITCHEN.acme_KITCHEN.dishes.ordered.*",
             "STREAM.MSG.DELETE.berlin_DEAD_LETTERS", "STREAM.CREATE.KITCHEN")  # fmt: skip
"""What the operator of acme asks without the prefix, or under another's."""


async def test_an_operator_who_forgets_the_prefix_is_refused(guarded: Broker, tmp_path: Path) -> None:
    denied: list[str] = []
    seed = nkeys.seed_file(keys_of(tmp_path, "acme"), "operator").read_text().strip()
    operator = Connection()
    operator.on_denied(denied.append)
    await operator.open(guarded.url, "operator", within_seconds=10, nkeys_seed_str=seed)
    try:
        asked = [operator.api(call) for call in FORGOTTEN]
        asked += ["dishes.ordered", "berlin.dishes.ordered", "$KV.jetmesh_apps.kitchen", "$JS.ACK.KITCHEN.x.1.1.1.1.0"]
        for subject in asked:
            operator.send(subject, b"{}")
        await operator.flush()
        assert {text.partition('"')[2].partition('"')[0] for text in denied} == {subject.lower() for subject in asked}
        own = Tenant(operator, "acme")
        whole = replace(needed(teams.KITCHEN, Settings()))
        await provision.apply(own, await provision.plan(own, whole))
        assert len(denied) == len(asked)
    finally:
        await operator.close()


async def test_a_client_who_forgets_the_prefix_is_refused(
    guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JETMESH_NATS_INBOX_PREFIX", accounts.inbox_of("client"))
    async with jetmesh.connect(guarded.url, nkey_seed=keys_of(tmp_path, "acme") / "client.nk") as client:
        with pytest.raises((PermissionError, Unavailable), match="may not publish dishes"):
            await client.publish(teams.Ordered(dish_id="d-1"))
