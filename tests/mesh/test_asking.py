"""A request to the mesh from outside: who declared it is answered, and nobody else, on a broker of several apps."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import jetmesh
from jetmesh import App, Problem, Service, Unavailable
from jetmesh.contracts import outside
from jetmesh.testing import Broker, LocalMesh
from jetmesh.topology import account_parts, accounts, nkeys
from jetmesh_contracts import OrderPlaced, StockLevel, StockOf, StockRestocked
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.inventory.service import inventory

OUTSIDERS = outside.users(SERVICES)
BUYING, CURIOUS = Service("buying", calls=[StockOf]), Service("curious")
BUYERS = App((BUYING, CURIOUS), name="buyers")


@BUYING.on
@CURIOUS.on
async def look(placed: OrderPlaced) -> None:
    """An order was placed: look at it."""


def part(app: App, keys: Path) -> accounts.AccountsPart:
    """An app's part of the accounts, with keys of its own, and the users outside that its contracts declare."""
    outsiders = OUTSIDERS if app is SERVICES else ()
    known = nkeys.ensure(keys, nkeys.users(app, outsiders=outsiders))
    return accounts.with_outsiders(accounts.part_of(app.name, app, known), outsiders, known)


@pytest_asyncio.fixture
async def stocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of a broker with two apps, where inventory runs and has counted five colas."""
    monkeypatch.setenv("JETMESH_NATS_API_PREFIX", accounts.API_PREFIX)
    files, shop = [tmp_path / f"{app.name}.json" for app in (SERVICES, BUYERS)], tmp_path / "shop"
    for app, file in zip((SERVICES, BUYERS), files, strict=True):
        account_parts.write(part(app, tmp_path / app.name), file)
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged(account_parts.read(files)))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        operator = {"NATS_URL": server.url, "JETMESH_NATS_NKEY_SEED": str(shop / "operator.nk")}
        async with LocalMesh(SERVICES, [], operator) as mesh:
            await mesh.start(
                inventory,
                JETMESH_NATS_NKEY_SEED=str(shop / "inventory.nk"),
                JETMESH_NATS_MICRO_NKEY_SEED=str(shop / "inventory-micro.nk"),
                JETMESH_NATS_API_PREFIX=accounts.API_PREFIX,
            )
            await mesh.outside(StockRestocked(restock_id="r-1", sku="cola", quantity=5))
            await mesh.recorded(StockLevel, "cola")
            yield server.url


def as_user(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    """What a user outside sets."""
    monkeypatch.setenv("JETMESH_NATS_INBOX_PREFIX", accounts.inbox_of(user))


@pytest.mark.parametrize("seed", ["shop/marketplace.nk", "buyers/buying.nk"])
async def test_who_declares_a_request_is_answered_by_another_teams_service(
    stocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str
) -> None:
    """A team outside, by its consumer file; a service of another app, by its `calls`."""
    if seed.startswith("shop"):
        as_user(monkeypatch, "marketplace")
    async with jetmesh.connect(stocked, nkey_seed=tmp_path / seed) as mesh:
        assert (await mesh.request(StockOf(sku="cola"))).available == 5
        with pytest.raises(Problem) as told:
            await mesh.request(StockOf(sku="unicorn"))
    assert (told.value.status, told.value.title) == (404, "There is no such article")


@pytest.mark.parametrize("seed", ["shop/fulfilment.nk", "shop/client.nk", "shop/orders.nk", "buyers/curious.nk"])
async def test_who_does_not_declare_it_is_refused(
    stocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str
) -> None:
    user = Path(seed).stem
    if user in ("fulfilment", "client"):
        as_user(monkeypatch, user)
    async with jetmesh.connect(stocked, nkey_seed=tmp_path / seed) as mesh:
        with pytest.raises((PermissionError, Unavailable), match=r"may not ask"):
            await mesh.request(StockOf(sku="cola"), timeout_seconds=2)
