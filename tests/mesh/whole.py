"""The whole reference mesh in this process, with a bank, a mail server and a warehouse of the test's own."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jetmesh.testing import LocalMesh, MeshOf
from jetmesh_contracts import StockLevel
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.service import orders
from jetmesh_shop.payments.ledger import Balance, Ledger
from jetmesh_shop.reference.mailsink import MailSink
from tests.support.samples import restocked

STOCK = {"pizza-margherita": 1_000, "tiramisu": 1_000, "cola": 1_000, "truffle-special": 10}
ENDINGS = {event.type for event in orders.endings}


class Whole:
    """The mesh and the world around it, to be looked into."""

    def __init__(self, mesh: LocalMesh, folder: Path) -> None:
        self.mesh, self._folder = mesh, folder

    def balances(self) -> dict[str, Balance]:
        """What the bank moved, by order."""
        ledger = Ledger(self._folder / "bank.sqlite")
        try:
            return {balance.key: balance for balance in ledger.balances()}
        finally:
            ledger.close()

    def mails(self) -> list[str]:
        """The Message-IDs of all mails that went out."""
        sink = MailSink(self._folder / "mail.sqlite")
        try:
            return sorted(mail.message_id for mail in sink.mails())
        finally:
            sink.close()

    async def level(self, sku: str) -> int:
        """What is free of an article."""
        return (await self.mesh.recorded(StockLevel, sku)).available

    async def ended(self, *order_ids: str, within_seconds: float = 30) -> dict[str, str]:
        """Wait until all orders have ended and everything is settled; how each of them ended."""
        endings: dict[str, str] = {}

        async def all_ended() -> bool:
            for order_id in set(order_ids) - endings.keys():
                for ending in await self.mesh.types(order_id) & ENDINGS:
                    endings[order_id] = ending.partition(".")[2]
            return len(endings) == len(set(order_ids))

        await self.mesh.until(all_ended, within_seconds, "all orders have ended")
        await self.mesh.settled(within_seconds)
        return endings

    async def is_balanced(self, endings: dict[str, str], *, crashed: bool = False) -> None:
        """Nothing lost, nothing twice: money, goods and mails agree with how each order ended. After a crash between
        sending and recording, a mail may go out again, under its own Message-ID."""
        for order_id, ending in endings.items():
            types = await self.mesh.types(order_id)
            balance = self.balances().get(order_id)
            captures = balance.captures if balance else 0
            assert captures == (ending == "confirmed"), (order_id, ending, balance)
            assert balance is None or balance.open_minor == 0, (order_id, balance)
            if ending == "confirmed":
                assert {"payments.captured", "inventory.reserved"} <= types
                assert {"notifications.confirmation_sent", "notifications.receipt_sent"} <= types
        mails = self.mails()
        assert crashed or len(mails) == len(set(mails))
        assert await self.mesh.dead_letters() == []


def start_mail(folder: Path) -> tuple["subprocess.Popen[str]", str]:
    """A mail server in a process of its own, and its URL."""
    command = [sys.executable, "-m", "jetmesh_shop.reference.mailsink", "--path", str(folder / "mail.sqlite")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@asynccontextmanager
async def whole_mesh(
    mesh_of: MeshOf, folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str
) -> AsyncIterator[Whole]:
    """All services at work, on their own wiring, with a full shelf."""
    process, smtp_url = await asyncio.to_thread(start_mail, folder)
    for name, value in {
        "JETMESH_SMTP_URL": smtp_url,
        "JETMESH_BANK_LEDGER": str(folder / "bank.sqlite"),
        "JETMESH_WAREHOUSE": str(folder / "analytics.duckdb"),
        "JETMESH_HTTP_PORT": "0",
        **environment,
    }.items():
        monkeypatch.setenv(name, value)
    try:
        common: Any = {"JETMESH_ACK_WAIT_SECONDS": "2", **_settings_of_all(environment)}
        mesh = await mesh_of(*SERVICES, **common)
        for sku, quantity in STOCK.items():
            await mesh.outside(restocked(f"seed-{sku}", sku, quantity))
        for sku in STOCK:
            await mesh.recorded(StockLevel, sku)
        yield Whole(mesh, folder)
        for service in SERVICES:
            await mesh.stop(service)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
        assert process.stdout is not None
        process.stdout.close()


def _settings_of_all(environment: Mapping[str, str]) -> dict[str, str]:
    """What is no setting of one service's wiring."""
    common = ("JETMESH_AFTER_", "JETMESH_PARTITIONS", "JETMESH_TENANT", "JETMESH_TRUST_TRACES")
    return {name: value for name, value in environment.items() if name.startswith(common)}
