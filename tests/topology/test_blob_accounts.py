"""With an account for each, who may store objects for an event, and who may read them, follows from the signatures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jetmesh import Context, Service, Unavailable
from jetmesh.runtime.context import connect
from jetmesh.settings import Settings, read
from jetmesh.telemetry import providers
from jetmesh.testing import Broker
from jetmesh.topology import account_parts, accounts, nkeys, provision
from jetmesh.topology.accounts import API_PREFIX, Import
from jetmesh.topology.streams import topology
from tests.support.documents import Copied, Printed, Uploaded, copying, documents, printer

SERVICES = (documents(), copying(), printer())


def bystander() -> Service:
    """A service that neither records nor reads an event with an object."""
    service = Service("bystander")

    @service.on
    async def look(printed: Printed) -> None:
        """A document was printed."""

    return service


APP = (*SERVICES, bystander())


@asynccontextmanager
async def context(
    broker: Broker, folder: Path, user: str, *, kind: str = "service", tenant: str = ""
) -> AsyncIterator[Context]:
    chosen = {"NATS_URL": broker.url, "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(folder, user))}
    chosen |= {"JETMESH_TENANT": tenant}
    prefix = {"JETMESH_NATS_API_PREFIX": API_PREFIX} if kind == "service" else {}
    inbox = {"JETMESH_NATS_INBOX_PREFIX": accounts.inbox_of(user)} if kind == "outside" else {}
    async with connect(read(Settings, chosen | prefix | inbox), providers.start("test", {}), user) as mesh:
        yield mesh


@pytest.fixture
def part(tmp_path: Path) -> accounts.AccountsPart:
    return accounts.part_of("papers", APP, nkeys.ensure(tmp_path / "keys", nkeys.users(APP)))


@pytest.mark.parametrize("tenant", ["", "acme"])
async def test_each_stores_and_reads_what_the_signatures_say(
    tmp_path: Path, part: accounts.AccountsPart, tenant: str
) -> None:
    folder, config = tmp_path / "keys", tmp_path / "nats-server.conf"
    config.write_text(accounts.merged([accounts.under_prefix(part, tenant, APP)]))
    user = partial(context, tenant=tenant)
    with Broker(tmp_path / "broker", "-c", str(config)) as broker:
        async with user(broker, folder, "operator", kind="operator") as operator:
            connection = operator.connection
            await provision.apply(connection, await provision.plan(connection, topology(APP)))
        async with user(broker, folder, "client", kind="outside") as client:
            blob = await client.blobs.put(Uploaded, b"from outside")
            with pytest.raises(Unavailable):
                await client.blobs.put(Copied, b"not his to store")
        async with user(broker, folder, "scans") as scans:
            assert [piece async for piece in scans.blobs.read(blob)] == [b"from outside"]
            copied = await scans.blobs.put(Copied, scans.blobs.read(blob))
            with pytest.raises(Unavailable, match="no stream takes this subject"):
                await scans.blobs.put(Uploaded, b"not its own")
        async with user(broker, folder, "printer") as prints:
            assert [piece async for piece in prints.blobs.read(copied)] == [b"from outside"]
        async with user(broker, folder, "bystander") as nobody:
            with pytest.raises(Unavailable):
                await nobody.blobs.check(copied)


def test_another_teams_part_gives_nobody_a_bucket_of_others(tmp_path: Path, part: accounts.AccountsPart) -> None:
    file = tmp_path / "part.json"
    account_parts.write(part, file)
    assert account_parts.read([file]) == [part]
    greedy = [
        replace(user, imports=(*user.imports, Import("$O.DOCUMENTS.C.*"))) if user.name == "scans" else user
        for user in part.users
    ]
    account_parts.write(replace(part, users=tuple(greedy)), file)
    with pytest.raises(
        account_parts.PartError, match=r"user scans asks for \$O\.DOCUMENTS\.C\.\*, which is not its own"
    ):
        account_parts.read([file])
