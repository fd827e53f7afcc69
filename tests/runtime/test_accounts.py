"""What each service's account may do on the real server, and that it may do nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jetmesh import accounts, keys, provision
from jetmesh.accounts import API_PREFIX
from jetmesh.archive.job import Job
from jetmesh.archive.parquet import Archive
from jetmesh.connection import Connection
from jetmesh.failure import Unavailable
from jetmesh.testing import Broker, until
from jetmesh.topology import consumers_of, topology
from services.flow import SERVICES

NAMES = [service.name for service in SERVICES]
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
    "$JS.API.CONSUMER.CREATE.ORDERS.evil",
    "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.evil",
    "$JS.API.CONSUMER.DELETE.ORDERS.payments-authorize",
    "$KV.secrets.x",
    "$SRV.PING",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The users' keys."""
    return tmp_path / "keys"


@pytest.fixture
def guarded(tmp_path: Path, folder: Path) -> Iterator[Broker]:
    """A broker with an account per service."""
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.configuration(SERVICES, keys.ensure(folder, keys.users(SERVICES))))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


@asynccontextmanager
async def connected(broker: Broker, folder: Path, user: str) -> AsyncIterator[Connection]:
    """A connection with a user's key."""
    connection = Connection()
    seed = keys.seed_file(folder, user).read_text().strip()
    await connection.open(broker.url, user, nkeys_seed_str=seed)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def operated(broker: Broker, folder: Path) -> AsyncIterator[Connection]:
    """An operator's connection, the topology applied."""
    async with connected(broker, folder, "operator") as operator:
        await provision.apply(operator, await provision.plan(operator, topology(SERVICES)))
        yield operator


def concrete(subject: str) -> str:
    """A subject that a wildcard matches."""
    return subject.replace("*", "x").replace(">", "x")


async def is_answered(connection: Connection, subject: str) -> bool:
    """Whether anybody takes a request on the subject; nobody does at once, since no account has it."""
    try:
        answer = await connection.ask(subject, b"{}", 0.5)
    except Unavailable as nobody:
        return "no answer" in str(nobody)
    return b"not enabled for account" not in answer


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_reaches_what_it_declares(guarded: Broker, folder: Path, name: str) -> None:
    service = next(service for service in SERVICES if service.name == name)
    async with operated(guarded, folder), connected(guarded, folder, name) as connection:
        connection.api_prefix = API_PREFIX
        await provision.check(connection, consumers_of(service, SERVICES))
        for event in service.records:
            answer = json.loads(await connection.ask(f"{event.type}.k-{event.type.replace('.', '-')}", b"{}"))

            assert answer["stream"] == service.stream


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_reaches_nothing_of_another(guarded: Broker, folder: Path, name: str) -> None:
    service = next(service for service in SERVICES if service.name == name)
    own = {imported.local or imported.subject for imported in accounts.imports_of(service, SERVICES)}
    foreign = {
        imported.local or imported.subject
        for other in SERVICES
        if other is not service
        for imported in accounts.imports_of(other, SERVICES)
    } - own
    subjects = [*map(concrete, sorted(foreign)), *ADMIN]
    async with operated(guarded, folder), connected(guarded, folder, name) as connection:
        reached = [subject for subject in subjects if await is_answered(connection, subject)]

    assert len(subjects) > 60
    assert reached == []


async def test_an_operator_may_archive_and_a_service_may_not(guarded: Broker, folder: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    async with operated(guarded, folder) as operator, connected(guarded, folder, "orders") as service:
        for subject in ("stock.restocked", "stock.restocked.r-1"):
            await operator.ask(subject, b'{"restock_id": "r-1", "sku": "cola", "quantity": 1}')
        for name in ("inventory-intake", "analytics-keep"):
            stream = "INTAKE" if name == "inventory-intake" else "INVENTORY"
            await provision.request(operator, f"CONSUMER.DELETE.{stream}.{name}", strict=True)
        await provision.request(operator, "CONSUMER.DELETE.INTAKE.orders-intake", strict=True)
        with pytest.raises(provision.Drift, match="not enabled for account"):
            await Job(service, SERVICES, archive, print).run(datetime.now(UTC))
        with archive.held():
            report = await Job(operator, SERVICES, archive, print).run(datetime.now(UTC))

    assert (report.stories, report.of("INTAKE").purged) == (1, 1)
    assert [row.subject for row in archive.all()] == ["stock.restocked", "stock.restocked.r-1"]


async def test_people_publish_what_is_open_to_everybody_and_nothing_else(guarded: Broker, folder: Path) -> None:
    async with operated(guarded, folder), connected(guarded, folder, "client") as client:
        stored = json.loads(await client.ask("orders.placed", b"{}"))
        recorded = await is_answered(client, "orders.placed.o-1")
        authorized = await is_answered(client, "payments.authorized.o-1")

    assert stored["stream"] == "INTAKE"
    assert (recorded, authorized) == (False, False)


async def test_a_pull_can_not_have_the_broker_publish_for_it(guarded: Broker, folder: Path) -> None:
    async with operated(guarded, folder) as operator, connected(guarded, folder, "payments") as thief:
        await operator.ask("orders.placed.o-1", b"{}")
        pull = "$JS.API.CONSUMER.MSG.NEXT.ORDERS.payments-authorize"
        await thief.publish(pull, b'{"batch": 1, "expires": 1000000000}', reply="orders.confirmed.forged")
        await thief.flush()

        honest: list[str] = []
        await thief.listen("thief.inbox", lambda subject, *_: honest.append(subject))
        await thief.publish(pull, b'{"batch": 1, "expires": 5000000000}', reply="thief.inbox")
        await operator.ask("orders.placed.o-2", b"{}")
        await until(lambda: honest)
        state = await provision.request(operator, "STREAM.INFO.ORDERS")

    assert state["state"]["messages"] == 2


async def test_nobody_hears_the_inboxes_or_events_of_another(guarded: Broker, folder: Path) -> None:
    heard: list[str] = []
    async with operated(guarded, folder) as operator, connected(guarded, folder, "payments") as spy:
        for subject in ("orders.>", "_INBOX.>", "$JS.EVENT.>", "dead.>"):
            await spy.listen(subject, lambda subject, *_: heard.append(subject))
        await spy.flush()
        await operator.ask("orders.placed.o-1", b"{}")
        await operator.ask("dead.orders.place.INTAKE.1", b"{}")
        await spy.flush()

    assert heard == []


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


async def test_a_key_is_rotated_while_the_old_one_is_in_use(tmp_path: Path, folder: Path) -> None:
    names = keys.users(SERVICES)
    before = keys.ensure(folder, names)["payments"]
    keys.rotate(folder, "payments")
    during = keys.ensure(folder, names)["payments"]
    retired = keys.retire(folder, "payments")
    after = keys.ensure(folder, names)["payments"]

    assert (len(before), len(during), retired, len(after)) == (1, 2, True, 1)
    assert before[0] in during
    assert after[0] in during
    assert after != before
    assert keys.seed_file(folder, "payments").stat().st_mode & 0o077 == 0
