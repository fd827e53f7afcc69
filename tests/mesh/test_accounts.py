"""What each service's account may do on the real server, and that it may do nothing else."""

import asyncio
import json
import logging
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jetmesh import App, Conditions, Rate, Service
from jetmesh.commands import commands
from jetmesh.contracts import outside
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import covers, subjects_of
from jetmesh.jetstream.transport import API
from jetmesh.operate import doctor, overview
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.deployment import needed
from jetmesh.runtime.context import connect, context_on
from jetmesh.runtime.rate_limit import RateLimit
from jetmesh.settings import Settings, read
from jetmesh.telemetry import providers
from jetmesh.testing import Broker, until
from jetmesh.testing.simulation.world import UNTRACED
from jetmesh.topology import account_parts, accounts, console_users, nkeys, provision
from jetmesh.topology.accounts import API_PREFIX
from jetmesh.topology.outside import OutsideDurable, OutsideUser, durables_of, named
from jetmesh.topology.streams import consumers_of, topology
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from tests.support import teams
from tests.support.programs import program

NAMES = [service.name for service in SERVICES]
OUTSIDERS = outside.users(SERVICES)
ADMIN = (
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.CREATE.EVIL",
    "$JS.API.STREAM.UPDATE.ORDERS",
    "$JS.API.STREAM.PURGE.ORDERS",
    "$JS.API.STREAM.DELETE.ORDERS",
    "$JS.API.STREAM.MSG.GET.PAYMENTS",
    "$JS.API.STREAM.MSG.DELETE.ORDERS",
    "$JS.API.STREAM.SNAPSHOT.ORDERS",
    "$JS.API.STREAM.RESTORE.ORDERS",
    "$JS.API.CONSUMER.CREATE.ORDERS.evil",
    "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.evil",
    "$JS.API.CONSUMER.DELETE.ORDERS.payments-authorize",
    "$JS.API.CONSUMER.DELETE.ORDERS.fulfilment-pack",
    "$JS.API.CONSUMER.PAUSE.ORDERS.fulfilment-pack",
    "$JS.API.CONSUMER.CREATE.ORDERS.fulfilment-more",
    "$JS.API.CONSUMER.CREATE.ORDERS.fulfilment-more.orders.confirmed.*",
    "$JS.API.DIRECT.GET.DELIVERY.couriers.roster.c-1",
    "jetmesh.api.CONSUMER.DELETE.ORDERS.fulfilment-pack",
    "jetmesh.api.CONSUMER.CREATE.ORDERS.fulfilment-more",
    "jetmesh.api.DIRECT.GET.DELIVERY.couriers.roster.c-1",
    "$KV.secrets.x",
    "$SRV.PING",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.SUBSZ",
    "$SYS.REQ.USER.INFO",
)
EARS = [">", "*.>", "orders.>", "stock.>", "payments.>", "dead.>", "due.>", "timers.>", "claims.>", "jetmesh.>"]
EARS += ["$JS.>", "$SYS.>", "$SRV.>", "$KV.>", "_INBOX.>", "_R_.>", "$JS.EVENT.>", "$SRV.STATS.payments"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The users' keys."""
    return tmp_path / "keys"


@pytest.fixture
def guarded(tmp_path: Path, folder: Path) -> Iterator[Broker]:
    """A broker with an account per service, and per user outside."""
    config = tmp_path / "nats-server.conf"
    keys = nkeys.ensure(folder, nkeys.users(SERVICES, outsiders=OUTSIDERS))
    own = console_users.with_console(accounts.part_of("", SERVICES, keys), SERVICES, keys)
    config.write_text(accounts.merged([accounts.with_outsiders(own, OUTSIDERS, keys)]))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


@asynccontextmanager
async def connected(broker: Broker, folder: Path, user: str, api_prefix: str = API) -> AsyncIterator[Connection]:
    """A connection with a user's key."""
    connection = Connection(api_prefix=api_prefix)
    seed = nkeys.seed_file(folder, user).read_text().strip()
    declared = [*named(OUTSIDERS), *(name for users in OUTSIDE.values() for name in named(users))]
    is_outside = accounts.kind_of(user, accounts.published(SERVICES)) or user in declared
    inbox = accounts.inbox_of(user) if is_outside else "_INBOX"
    await connection.open(broker.url, user, nkeys_seed_str=seed, inbox_prefix=inbox)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def operated(broker: Broker, folder: Path) -> AsyncIterator[Connection]:
    """An operator's connection, the topology applied."""
    async with connected(broker, folder, "operator") as operator:
        await provision.apply(operator, await provision.plan(operator, needed(SERVICES, Settings())))
        yield operator


def concrete(subject: str) -> str:
    """A subject that a wildcard matches."""
    return subject.replace("*", "x").replace(">", "x")


async def reached(connection: Connection, subjects: Iterable[str]) -> list[str]:
    """On which of the subjects somebody takes a request: no account has it, or the server denies it."""
    denied: list[str] = []
    connection.on_denied(denied.append)

    async def is_answered(subject: str) -> bool:
        try:
            answer = await connection.ask(subject, b"{}", 1.0)
        except Unavailable as nobody:
            return "no answer" in str(nobody)
        return b"not enabled for account" not in answer

    subjects = list(subjects)
    answered = await asyncio.gather(*map(is_answered, subjects))
    refused = " ".join(denied)
    return [s for s, yes in zip(subjects, answered, strict=True) if yes and f'"{s.lower()}"' not in refused]


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_reaches_what_it_declares(guarded: Broker, folder: Path, name: str) -> None:
    service = next(service for service in SERVICES if service.name == name)
    async with operated(guarded, folder), connected(guarded, folder, name, API_PREFIX) as connection:
        await provision.check(connection, consumers_of(service, SERVICES))
        for event in service.records:
            subject = concrete(subjects_of(event, f"k-{event.type.replace('.', '-')}"))
            answer = json.loads(await connection.ask(subject, b"{}"))
            assert answer["stream"] == service.stream


CONSOLES = {accounts.CONSOLE: console_users.operator_imports, accounts.VIEWER: console_users.viewer_imports}


def own(user: str) -> set[str]:
    """What a user may say."""
    if user in CONSOLES:
        return {imported.local or imported.subject for imported in CONSOLES[user](SERVICES)}
    for service in SERVICES:
        if service.name == user:
            return {imported.local or imported.subject for imported in accounts.imports_of(service, SERVICES)}
    for outsider in OUTSIDERS:
        if outsider.name == user:
            return {imported.local or imported.subject for imported in accounts.outside_imports(outsider)}
    return {event.type for event in accounts.published(SERVICES).get(user, ())}


def beyond(everything: Iterable[str], mine: Collection[str]) -> list[str]:
    """A subject for each of these patterns that is in none of `mine`."""
    return [concrete(each) for each in sorted(everything) if not any(covers(pattern, each) for pattern in mine)]


STRANGERS = [user for user in nkeys.users(SERVICES, outsiders=OUTSIDERS) if user != "operator"]


@pytest.mark.parametrize("user", STRANGERS)
async def test_nobody_reaches_what_is_not_his(guarded: Broker, folder: Path, user: str) -> None:
    everything = {subject for other in STRANGERS for subject in own(other)}
    subjects = [*beyond(everything, own(user)), *ADMIN]
    async with operated(guarded, folder), connected(guarded, folder, user) as connection:
        found = await reached(connection, subjects)

    assert len(subjects) > 60
    assert found == []


@pytest.mark.parametrize("user", STRANGERS)
async def test_nobody_hears_what_is_not_for_him(guarded: Broker, folder: Path, user: str) -> None:
    """Whatever he subscribes to, while everybody else goes about their business."""
    heard: list[str] = []
    denied: list[str] = []
    async with operated(guarded, folder) as operator, connected(guarded, folder, user) as spy:
        spy.on_denied(denied.append)
        for subject in (*EARS, *(f"{accounts.inbox_of(other)}.>" for other in STRANGERS if other != user)):
            await spy.listen(subject, lambda subject, *_: heard.append(subject))
        await spy.flush()
        for subject in (
            "orders.placed.o-1",
            "dead.orders.place.INTAKE.1",
            "$SRV.STATS.nobody",
            "jetmesh.nobody.health",
        ):
            operator.send(subject, b"{}")
        for other in STRANGERS:
            async with connected(guarded, folder, other) as neighbour:
                for subject in own(other):
                    neighbour.send(concrete(subject), b"{}", reply=f"{accounts.inbox_of(other)}.x")
                await neighbour.flush()
        await spy.flush()

    asked = f"$SRV.STATS.{user.removesuffix('-micro')}"
    assert [subject for subject in heard if subject != asked or user in NAMES] == []
    assert denied


async def test_a_consumer_outside_pulls_its_own_durable(guarded: Broker, folder: Path) -> None:
    async with operated(guarded, folder) as operator, connected(guarded, folder, "fulfilment") as consumer:
        got: list[tuple[str, str]] = []
        inbox = f"{accounts.inbox_of('fulfilment')}.pull"
        await consumer.listen(inbox, lambda subject, reply, *_: got.append((subject, reply)))
        for event in ("orders.confirmed", "orders.payment_secured", "orders.cancelled"):
            await operator.ask(f"{event}.o-1", b"{}")
        pull = b'{"batch": 2, "expires": 5000000000}'
        consumer.send(f"{API_PREFIX}.CONSUMER.MSG.NEXT.ORDERS.fulfilment-pack", pull, reply=inbox)
        await until(lambda: len(got) == 2)
        for _, reply in got:
            await consumer.ask(reply, b"+ACK")
        info = json.loads(await consumer.ask(f"{API_PREFIX}.CONSUMER.INFO.ORDERS.fulfilment-pack", b""))

    assert [subject for subject, _ in got] == ["orders.confirmed.o-1", "orders.cancelled.o-1"]
    assert (info["num_pending"], info["num_ack_pending"], info["ack_floor"]["consumer_seq"]) == (0, 0, 2)


async def test_a_partner_outside_publishes_and_reads_what_became_of_it(guarded: Broker, folder: Path) -> None:
    async with operated(guarded, folder) as operator, connected(guarded, folder, "marketplace") as partner:
        assert json.loads(await partner.ask("orders.placed", b"{}"))["stream"] == "INTAKE"
        for event in ("orders.refused", "orders.payment_secured"):
            await operator.ask(f"{event}.o-1", b'{"order_id": "o-1"}')
        read = f"{API_PREFIX}.DIRECT.GET.ORDERS"
        assert await partner.ask(f"{read}.orders.refused.o-1", b"") == b'{"order_id": "o-1"}'
        for body in (b'{"seq": 1}', b'{"next_by_subj": ">"}', b'{"multi_last": [">"]}'):
            assert b"o-1" not in await partner.ask(f"{read}.orders.placed.o-1", body)
        assert await reached(partner, [f"{read}.orders.payment_secured.o-1", read, "orders.refused.o-2"]) == []


async def test_two_customers_hear_nothing_of_one_another(tmp_path: Path, folder: Path) -> None:
    users = [*nkeys.users(SERVICES), "client-berlin"]
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.configuration(SERVICES, nkeys.ensure(folder, users)))
    assert "client-berlin" in nkeys.users(SERVICES, folder)
    heard: list[str] = []
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        async with operated(server, folder), connected(server, folder, "client") as spy:
            for subject in ("orders.>", f"{accounts.inbox_of('client-berlin')}.>", f"{accounts.inbox_of('client')}.>"):
                await spy.listen(subject, lambda subject, *_: heard.append(subject))
            await spy.flush()
            async with connected(server, folder, "client-berlin") as other:
                stored = json.loads(await other.ask("orders.placed", b"{}"))
            await spy.flush()

    assert stored["stream"] == "INTAKE"
    assert heard == []


@pytest.mark.parametrize("kind", accounts.published(SERVICES))
async def test_each_kind_of_outside_user_publishes_what_the_contracts_say(
    guarded: Broker, folder: Path, kind: str
) -> None:
    async with operated(guarded, folder), connected(guarded, folder, kind) as connection:
        for subject in own(kind):
            assert json.loads(await connection.ask(subject, b"{}"))["stream"] == "INTAKE"


def test_customers_order_suppliers_restock_support_cancels_and_couriers_deliver() -> None:
    assert {kind: own(kind) for kind in accounts.published(SERVICES)} == {
        "client": {"orders.placed"},
        "support": {"orders.cancellation_requested"},
        "supplier": {"stock.restocked"},
        "courier": {"shifts.begun", "shifts.ended", "delivery.position_reported", "delivery.delivered"},
    }


async def test_an_account_takes_no_more_connections_and_no_larger_message_than_it_may(
    tmp_path: Path, folder: Path
) -> None:
    config = tmp_path / "nats-server.conf"
    limits = accounts.AccountLimits(connections=2, subscriptions=2, payload_bytes=1_000)
    users = nkeys.ensure(folder, nkeys.users(SERVICES))
    config.write_text(accounts.configuration(SERVICES, users, outside=limits))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        async with operated(server, folder), connected(server, folder, "client"), connected(server, folder, "client"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1), connected(server, folder, "client"):
                    pass
        async with connected(server, folder, "client") as client:
            client.send("orders.placed", bytes(1_001))
            await until(lambda: "maximum payload" in str(client.last_error).lower())


async def test_an_operator_may_archive_and_a_service_may_not(guarded: Broker, folder: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    async with operated(guarded, folder) as operator, connected(guarded, folder, "orders") as service:
        for subject in ("stock.restocked", "stock.restocked.r-1"):
            await operator.ask(subject, b'{"restock_id": "r-1", "sku": "cola", "quantity": 1}')
        for name in ("inventory-intake", "analytics-keep"):
            stream = "INTAKE" if name == "inventory-intake" else "INVENTORY"
            await api.request(operator, f"CONSUMER.DELETE.{stream}.{name}", strict=True)
        await api.request(operator, "CONSUMER.DELETE.INTAKE.orders-intake", strict=True)
        with pytest.raises(ApiError, match="not enabled for account"):
            await Job(service, SERVICES, archive, print).run(datetime.now(UTC))
        with archive.held():
            report = await Job(operator, SERVICES, archive, print).run(datetime.now(UTC))

    assert (report.stories, report.of("INTAKE").purged) == (1, 1)
    assert [row.subject for row in archive.all()] == ["stock.restocked", "stock.restocked.r-1"]


async def test_a_pull_can_not_have_the_broker_publish_for_it(guarded: Broker, folder: Path) -> None:
    async with operated(guarded, folder) as operator, connected(guarded, folder, "payments") as thief:
        await operator.ask("orders.placed.o-1", b"{}")
        pull = "$JS.API.CONSUMER.MSG.NEXT.ORDERS.payments-authorize"
        thief.send(pull, b'{"batch": 1, "expires": 1000000000}', reply="orders.confirmed.forged")
        await thief.flush()

        honest: list[str] = []
        await thief.listen("_INBOX.thief", lambda subject, *_: honest.append(subject))
        thief.send(pull, b'{"batch": 1, "expires": 5000000000}', reply="_INBOX.thief")
        await operator.ask("orders.placed.o-2", b"{}")
        await until(lambda: honest)
        state = await api.request(operator, "STREAM.INFO.ORDERS")

    assert state["state"]["messages"] == 2


async def test_what_answers_nats_micro_may_do_nothing_but_answer(guarded: Broker, folder: Path) -> None:
    denied: list[str] = []
    async with operated(guarded, folder) as operator, connected(guarded, folder, "orders-micro") as micro:
        micro.on_denied(denied.append)

        def answer(_subject: str, reply: str, _headers: bytes, _data: bytes) -> None:
            micro.send(reply, b"ready")

        await micro.listen("jetmesh.orders.health", answer)
        await micro.flush()
        said = await operator.ask("jetmesh.orders.health", b"")
        micro.send("orders.placed.o-1", b"{}")
        await until(lambda: asyncio.sleep(0, bool(denied)))

    assert said == b"ready"
    assert "orders.placed.o-1" in denied[0]


LIES: tuple[object, ...] = (
    {"name": "payments", "endpoints": [{"name": "reactions", "data": {"reactions": {}, "breakers": {}}}]},
    ["payments"],
    {"name": ["payments"], "endpoints": None},
    {"name": "payments", "endpoints": [7]},
    {"name": "orders", "endpoints": [{"name": "reactions", "data": {"reactions": {"place": {"p50_ms": "much"}}}}]},
    {"name": "orders", "endpoints": [{"name": "reactions", "data": {"reactions": 1, "breakers": []}}]},
)


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_what_answers_for_one_service_does_not_answer_for_another(
    guarded: Broker, folder: Path, lie: object
) -> None:
    """Neither do `jetmesh top` and `doctor` believe it, nor does it end them."""
    async with operated(guarded, folder) as operator, connected(guarded, folder, "orders-micro") as micro:

        def answer(_subject: str, reply: str, _headers: bytes, _data: bytes) -> None:
            micro.send(reply, json.dumps(lie).encode())

        for verb in ("PING", "INFO", "STATS"):
            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.orders"):
                await micro.listen(subject, answer)
        await micro.listen("jetmesh.orders.health", answer)
        await micro.flush()
        seen = await overview.look(operator, SERVICES)
        found = [f async for f in doctor._health(doctor.CheckContext(operator, SERVICES, Settings()))]

    assert "payments" not in seen.instances
    assert "service payments" in seen.missing
    assert "payments does not run (or may not be seen by this user)" in [f.found for f in found]


async def test_a_key_is_rotated_while_the_old_one_is_in_use(tmp_path: Path, folder: Path) -> None:
    names = nkeys.users(SERVICES)
    before = nkeys.ensure(folder, names)["payments"]
    nkeys.rotate(folder, "payments")
    during = nkeys.ensure(folder, names)["payments"]
    retired = nkeys.retire(folder, "payments")
    after = nkeys.ensure(folder, names)["payments"]

    assert (len(before), len(during), retired, len(after)) == (1, 2, True, 1)
    assert before[0] in during
    assert after[0] in during
    assert after != before
    assert nkeys.seed_file(folder, "payments").stat().st_mode & 0o077 == 0


def test_seeds_that_were_copied_are_closed_again(folder: Path) -> None:
    """Whatever brought them there: an archive, a checkout, `cp` under another umask."""
    permissions(folder, "--rotate", "payments")
    seeds = sorted(folder.glob("*.nk*"))
    for seed in seeds:
        seed.chmod(0o644)
    assert permissions(folder).exit_code == 0
    assert len(seeds) > len(NAMES)
    assert {seed.stat().st_mode & 0o777 for seed in seeds} == {0o600}


def test_a_key_is_not_rotated_out_of_use_unseen(folder: Path) -> None:
    """The first key is in use until it is retired: a second rotation would lock out whoever has it."""
    assert permissions(folder, "--rotate", "payments").exit_code == 0
    assert permissions(folder, "--rotate", "payments").exit_code != 0
    public = nkeys.ensure(folder, nkeys.users(SERVICES))["payments"]
    assert len(public) == 2
    assert all(key in (folder / "accounts.conf").read_text() for key in public)
    assert permissions(folder, "--retire", "payments").exit_code == 0
    assert permissions(folder, "--rotate", "payments").exit_code == 0


@pytest.mark.parametrize("before", ["made anew", "made with a window"])
async def test_an_id_that_a_stranger_chose_makes_no_order_vanish(guarded: Broker, folder: Path, before: str) -> None:
    """Also on a mesh whose intake remembers ids: `topology apply` carries it over, and no more are remembered."""
    body = {"order_id": "o-1", "customer": {"customer_id": "c-7", "email": "ada@example.com"}}
    async with connected(guarded, folder, "operator") as operator:
        if before == "made with a window":
            old = {
                "name": "INTAKE",
                "subjects": ["orders.*", "stock.*"],
                "discard": "new",
                "duplicate_window": 120 * 10**9,
            }
            await api.request(operator, "STREAM.CREATE.INTAKE", old, strict=True)
            await operator.ask("orders.placed", b"{}", headers=encode_headers({"Nats-Msg-Id": "shop-0"}))
        async with operated(guarded, folder), connected(guarded, folder, "client") as client:
            first, second, third = [
                json.loads(await client.ask("orders.placed", data, headers=encode_headers({"Nats-Msg-Id": "shop-1"})))
                for data in (b"{}", json.dumps(body).encode(), json.dumps(body).encode())
            ]
            info = await api.request(operator, "STREAM.INFO.INTAKE")
    assert not {"duplicate"} & {*first, *second, *third}
    assert [second["seq"], third["seq"]] == [first["seq"] + 1, first["seq"] + 2]
    assert third["seq"] == info["state"]["messages"]


async def test_a_customer_speaks_by_the_runtime_with_a_key_and_an_inbox_prefix(guarded: Broker, folder: Path) -> None:
    told = {"NATS_URL": guarded.url, "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(folder, "client"))}
    told["JETMESH_NATS_INBOX_PREFIX"] = accounts.inbox_of("client")
    async with operated(guarded, folder), connect(read(Settings, told), providers.start("shop", {}), "shop") as mesh:
        assert await mesh.publisher.record(Message("orders.placed", b"{}", {})) == 1


async def test_a_customers_key_lists_no_connection_and_hears_no_order(guarded: Broker, folder: Path) -> None:
    """With the real CLI, as somebody tries it."""
    nats = [program("nats"), "--server", guarded.url, "--nkey", str(nkeys.seed_file(folder, "client"))]
    nats += ["--inbox-prefix", accounts.inbox_of("client"), "--timeout", "1s"]
    async with operated(guarded, folder):
        for command in (["sub", ">"], ["sub", "orders.>"], ["req", "$SYS.REQ.ACCOUNT.PING.CONNZ", ""]):
            done = await asyncio.create_subprocess_exec(*nats, *command, "--count", "1", stdout=PIPE, stderr=STDOUT)
            said, _ = await asyncio.wait_for(done.communicate(), 20)
            assert b"ermissions Violation" in said, said
        ordered = await asyncio.create_subprocess_exec(*nats, "pub", "orders.placed", "{}", "-J", stderr=PIPE)
        _, said = await ordered.communicate()
    assert b"INTAKE" in said


@pytest.mark.parametrize("how", ["all", "sub"])
async def test_what_was_recorded_is_rolled_up_by_nobody(guarded: Broker, folder: Path, how: str) -> None:
    """What the server allows in timers alone: it takes no schedule without it."""
    rolled = encode_headers({"Nats-Rollup": how})
    async with operated(guarded, folder) as operator:
        async with connected(guarded, folder, "orders") as orders, connected(guarded, folder, "client") as client:
            for who, subject in (
                (client, "orders.placed"),
                (orders, "orders.placed.o-1"),
                (orders, "dead.orders.place.INTAKE.1"),
                (orders, "claims.orders.k"),
            ):
                await who.ask(subject, b"{}")
                answer = json.loads(await who.ask(subject, b"{}", headers=rolled))
                assert "rollup not permitted" in answer["error"]["description"]
            foreign = await reached(orders, ["timers.payments.x"])
        timers = await api.request(operator, "STREAM.INFO.ORDERS_TIMERS")
    assert foreign == []
    assert timers["config"]["allow_rollup_hdrs"] is True, (
        "the server can do without now: let topology/streams.py say so"
    )


def permissions(folder: Path, *arguments: str) -> Result:
    command = ["topology", "permissions", str(folder), *arguments]
    return CliRunner(env={"JETMESH_APP": "jetmesh_shop.flow:SERVICES"}).invoke(commands, command)


def test_the_command_adds_a_customer_and_keeps_it(folder: Path) -> None:
    assert permissions(folder, "--add", "client-berlin").exit_code == 0
    assert "client-berlin" in permissions(folder).output
    text = (folder / "accounts.conf").read_text()
    assert "  CLIENT_BERLIN: {" in text
    assert '"_INBOX_client-berlin.>"' in text
    for seed in folder.glob("client-berlin.nk*"):
        seed.unlink()
    permissions(folder)
    assert "CLIENT_BERLIN" not in (folder / "accounts.conf").read_text()


@pytest.mark.parametrize("copy", ["client-berlin (copy)", "client-berlin.old", "client-hamburg", "client-x\n}"])
def test_a_seed_that_was_copied_is_named_before_the_server_refuses_it(folder: Path, copy: str) -> None:
    """The server would refuse the whole configuration, for a name that is none or a key that is another's."""
    permissions(folder, "--add", "client-berlin")
    written = (folder / "accounts.conf").read_text()
    nkeys.seed_file(folder, copy).write_text(nkeys.seed_file(folder, "client-berlin").read_text())
    refused = permissions(folder)
    assert refused.exit_code != 0
    said = str(refused.exception)
    assert "no user can have this name" in said or "holds the seed of client-berlin" in said
    assert (folder / "accounts.conf").read_text() == written


@pytest.mark.parametrize(
    "user", ["berlin", "clientberlin", "client-", "client-Berlin", "client-a.b", "orders-x", "operator"]
)
def test_the_command_adds_nobody_who_is_of_no_kind(folder: Path, user: str) -> None:
    refused = permissions(folder, "--add", user)
    assert refused.exit_code == 2
    assert "write one of client, support, supplier, courier, a dash and small letters or digits" in " ".join(
        refused.output.split()
    )
    assert not folder.exists()


@pytest.mark.parametrize("name", ["client", "client-berlin", "supplier", "operator", "mesh", "orders-micro"])
def test_a_service_may_not_be_called_like_somebody_else(name: str) -> None:
    with pytest.raises(ValueError, match=rf"service {name}: .* rename the service"):
        nkeys.users([*SERVICES, Service(name)])


@pytest.mark.parametrize("kind", ["", "Client", "a b", "client-x", "operator", "mesh", '"'])
def test_a_contract_names_a_publisher_that_can_be_a_user(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(OrderPlaced, "publisher", kind)
    with pytest.raises(ValueError, match=r"orders\.placed: publisher .*: write small letters and digits"):
        accounts.published(SERVICES)


APPS = (SERVICES, teams.KITCHEN, teams.COUNTER)
GUIDE = OutsideUser(
    "guide", (OutsideDurable("guide-taste", (teams.Cooked,)),), follows=(teams.Cooked,), publishes=(teams.Ordered,)
)
CALLER = OutsideUser("caller", (OutsideDurable("caller-listen", (teams.Called,)),))
OUTSIDE = {"kitchen": [GUIDE], "counter": [CALLER]}
"""The users outside of each app."""


def users_of(app: App) -> list[str]:
    """Everybody who has a key of an app."""
    return nkeys.users(app, outsiders=OUTSIDE.get(app.name, []))


USERS = [(app.name, user) for app in APPS for user in users_of(app) if user != "operator"]


def part(app: App, keys: Path) -> accounts.AccountsPart:
    """An app's part, with keys of its own."""
    known = nkeys.ensure(keys, users_of(app))
    own = console_users.with_console(accounts.part_of(app.name, app, known), app, known)
    return accounts.with_outsiders(own, OUTSIDE.get(app.name, []), known)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Broker]:
    """A broker with the accounts of three apps, each of whose teams wrote its part and keeps its keys."""
    for app in APPS:
        account_parts.write(part(app, tmp_path / app.name), tmp_path / f"{app.name}.json")
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged(account_parts.read(sorted(tmp_path.glob("*.json")))))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


def allowed(app: App, user: str) -> set[str]:
    """What a user of an app may say."""
    if user in CONSOLES:
        return {imported.local or imported.subject for imported in CONSOLES[user](app)}
    for service in app:
        if service.name == user:
            return {imported.local or imported.subject for imported in accounts.imports_of(service, app)}
    for outsider in OUTSIDE.get(app.name, []):
        if outsider.name == user:
            return {imported.local or imported.subject for imported in accounts.outside_imports(outsider)}
    return {event.type for event in accounts.published(app).get(user, ())}


async def operate(broker: Broker, keys: Path, app: App) -> None:
    """Apply an app with the key of its own operators."""
    users = OUTSIDE.get(app.name, [])
    durables = tuple(each for user in users for each in durables_of(user, {}, app.name))
    async with connected(broker, keys, "operator") as operator:
        whole = replace(topology(app, app=app.name), outside=durables)
        await provision.apply(operator, await provision.plan(operator, whole))


@pytest.mark.parametrize(("name", "user"), USERS, ids="-".join)
async def test_with_several_apps_on_a_broker_each_user_reaches_his_own_and_nothing_else(
    shared: Broker, tmp_path: Path, name: str, user: str
) -> None:
    app = next(each for each in APPS if each.name == name)
    own = allowed(app, user)
    others = beyond({s for each in APPS for other in users_of(each) for s in allowed(each, other)}, own)
    for each in APPS:
        await operate(shared, tmp_path / each.name, each)
    async with connected(shared, tmp_path / name, user) as connection:
        found = await reached(connection, [*others, *ADMIN])
        pulls = [subject for subject in own if "CONSUMER.INFO" in subject and user not in CONSOLES]
        there = [json.loads(await connection.ask(subject, b""))["name"] for subject in pulls]

    assert len(others) > 60
    assert found == []
    assert all(durable.startswith(f"{user}-") for durable in there)
    assert len(there) == len(pulls)


async def test_a_service_takes_the_permits_of_its_own_limits_alone(tmp_path: Path) -> None:
    rate = Rate(1, per_seconds=3_600)
    app, own, others = teams.kitchen(limit=rate), tmp_path / "kitchen", tmp_path / "counter"
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged([part(app, own), part(teams.COUNTER, others)]))
    cook = next(reaction for service in app for reaction in service.reactions if reaction.limit)
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        await operate(server, own, app)
        async with (
            connected(server, own, "kitchen", API_PREFIX) as connection,
            context_on(connection, Settings(), UNTRACED) as context,
        ):
            first, second = (RateLimit(context, cook, rate, Conditions(logging.getLogger())) for _ in range(2))
            assert await asyncio.wait_for(first.turn(is_guest=False), 5)
            assert not await asyncio.wait_for(second.turn(is_guest=True), 5)
            assert second.opens_in_seconds > 3_000
        async with connected(server, others, "counter") as stranger:
            assert await reached(stranger, ["limits.kitchen.cook", "$JS.API.DIRECT.GET.KITCHEN_LIMITS"]) == []


def test_a_part_that_takes_what_is_anothers_is_refused(tmp_path: Path) -> None:
    kitchen, counter = part(teams.KITCHEN, tmp_path / "kitchen"), part(teams.COUNTER, tmp_path / "counter")
    service = kitchen.users[0]
    theft = replace(service, imports=(accounts.Import("$JS.API.STREAM.DELETE.COUNTER"),))
    reading = replace(service, imports=(accounts.Import("$JS.API.DIRECT.GET.COUNTER", is_stream=True),))
    twin = replace(kitchen, app="canteen")
    forged = replace(service, imports=(accounts.Import("calls.called.*"),))
    shared_key = replace(counter.users[0], keys=service.keys)
    guide, caller = kitchen.users[-1], counter.users[-1]
    pulling = replace(guide, imports=(accounts.Import("$JS.ACK.KITCHEN.counter-call.>"),))
    peeping = replace(guide, imports=(accounts.Import("$JS.API.DIRECT.GET.COUNTER.calls.called.*"),))
    reader = replace(guide, imports=(accounts.Import("$JS.API.DIRECT.GET.KITCHEN", is_stream=True),))
    namesake = replace(caller, name="guide", imports=(accounts.Import("$JS.ACK.KITCHEN.guide-taste.>"),))
    parent = replace(caller, name="call", imports=(accounts.Import("$JS.ACK.COUNTER.call-er-x.>"),))
    child = replace(caller, name="call-er", imports=(accounts.Import("$JS.ACK.COUNTER.call-er-x.>"),))
    quoted = replace(service, imports=(accounts.Import('x.y"}, {service: ">'),))
    for wrong, words in (
        ([replace(kitchen, users=(theft,))], r"user kitchen asks for \$JS\.API\.STREAM\.DELETE\.COUNTER"),
        ([replace(kitchen, users=(reading,))], r"user kitchen asks for \$JS\.API\.DIRECT\.GET\.COUNTER"),
        ([replace(kitchen, users=(quoted,))], "which is not its own"),
        ([replace(kitchen, users=(service, pulling))], r"user guide asks for \$JS\.ACK\.KITCHEN\.counter-call\.>"),
        ([replace(kitchen, users=(service, peeping))], r"user guide asks for \$JS\.API\.DIRECT\.GET\.COUNTER\.calls"),
        ([replace(kitchen, users=(service, reader))], r"user guide asks for \$JS\.API\.DIRECT\.GET\.KITCHEN, which"),
        (
            [kitchen, replace(counter, users=(counter.users[0], namesake))],
            "user guide: the apps .* have one of this name: rename one",
        ),
        (
            [replace(kitchen, users=(parent,), micro={}), replace(counter, users=(child,), micro={})],
            "durable COUNTER/call-er-x: .* would pull it: rename one of the users",
        ),
        ([kitchen, twin], "service kitchen: the apps canteen and kitchen have one of this name: rename one"),
        ([counter, replace(kitchen, users=(forged,))], r"calls\..*: the apps counter and kitchen publish it"),
        ([kitchen, replace(counter, users=(shared_key,))], "have the same key: make a new one for one of them"),
        ([replace(kitchen, operators=("no key",))], "'no key' is no public key of a user"),
    ):
        for number, each in enumerate(sorted(wrong, key=lambda each: each.app)):
            account_parts.write(each, tmp_path / f"{number}.json")
        with pytest.raises(account_parts.PartError, match=words):
            account_parts.read([tmp_path / f"{number}.json" for number in range(len(wrong))])


def test_the_commands_write_and_merge_the_parts(tmp_path: Path) -> None:
    for app in ("KITCHEN", "COUNTER"):
        run = CliRunner(env={"JETMESH_APP": f"tests.support.teams:{app}"})
        wrote = run.invoke(commands, ["topology", "permissions", str(tmp_path / app)])
        assert wrote.exit_code == 0, wrote.output
    parts = [str(tmp_path / app / "parts" / f"{app.lower()}.json") for app in ("KITCHEN", "COUNTER")]
    merged = CliRunner().invoke(commands, ["topology", "accounts", *parts])
    assert merged.exit_code == 0, merged.output
    assert {"  KITCHEN: {", "  COUNTER: {", "  KITCHEN__CLIENT: {", "  COUNTER__CLIENT: {"} <= set(
        merged.output.splitlines()
    )
    twice = CliRunner().invoke(commands, ["topology", "accounts", parts[0], parts[0]])
    assert "two parts are of the app kitchen" in str(twice.exception)


async def test_an_app_is_there_once_for_each_tenant(tmp_path: Path) -> None:
    """Under the same names, each with streams, keys and operators of its own."""
    tenants, app = ("berlin", "paris"), teams.KITCHEN
    for tenant in tenants:
        users = nkeys.ensure(tmp_path / tenant, nkeys.users(app))
        account_parts.write(accounts.part_of(app.name, app, users, tenant=tenant), tmp_path / f"kitchen@{tenant}.json")
    config = tmp_path / "nats-server.conf"
    parts = account_parts.read(tmp_path / f"kitchen@{tenant}.json" for tenant in tenants)
    config.write_text(accounts.merged(parts))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        for tenant in tenants:
            await operate(server, tmp_path / tenant, app)
        async with connected(server, tmp_path / "berlin", "client") as client:
            assert json.loads(await client.ask("dishes.ordered", b'{"dish_id": "d-1"}'))["stream"] == "INTAKE"
        held = []
        for tenant in tenants:
            async with connected(server, tmp_path / tenant, "operator") as operator:
                held.append((await api.request(operator, "STREAM.INFO.INTAKE"))["state"]["messages"])
            async with connected(server, tmp_path / tenant, "kitchen") as service:
                service.api_prefix = API_PREFIX
                await provision.check(service, consumers_of(app[0], app))
    assert held == [1, 0]


def test_the_parts_of_tenants_may_share_names_and_no_key(tmp_path: Path) -> None:
    keys = nkeys.ensure(tmp_path / "keys", nkeys.users(teams.KITCHEN))
    berlin, paris = (accounts.part_of("kitchen", teams.KITCHEN, keys, tenant=tenant) for tenant in ("berlin", "paris"))
    micro = replace(part(teams.KITCHEN, tmp_path / "more"), micro={"counter": tuple(keys["kitchen-micro"])})
    split = replace(part(teams.KITCHEN, tmp_path / "more"), split={"calls": 2})
    for wrong, words in (
        ([berlin, paris], "kitchen of kitchen of the tenant berlin and .* of the tenant paris have the same key"),
        ([berlin, berlin], "two parts are of the app kitchen of the tenant berlin"),
        ([micro], "counter is no service of it, and it would answer for it"),
        ([split], "it would split calls, which it does not publish"),
    ):
        for number, each in enumerate(wrong):
            account_parts.write(each, tmp_path / f"{number}.json")
        with pytest.raises(account_parts.PartError, match=words):
            account_parts.read([tmp_path / f"{number}.json" for number in range(len(wrong))])
