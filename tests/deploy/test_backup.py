"""Backup and restore as the documentation says them: under load, into an empty broker, and the audit is clean."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jetmesh.commands.target import connected_with
from jetmesh.common.ports import free_ports
from jetmesh.jetstream import api
from jetmesh.operate.load import publish
from jetmesh.runtime.context import Context
from jetmesh.testing import Broker, until
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.reference import mix, stock
from tests.mesh.whole import start_mail
from tests.support.processes import started
from tests.support.programs import ROOT

ORDERS = 600
WITHIN_SECONDS = 120.0
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "contracts"), str(ROOT / "services")])
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def words(heading: str) -> list[str]:
    """The commands of a section of the guide for operators, as a reader would type them."""
    text = (ROOT / "docs" / "operations.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


TAKE, CHECK, RESTORE = words("Backups")


@dataclass(frozen=True)
class Shop:
    """The reference mesh on one machine: a broker, and a folder for what is outside of it."""

    broker: Broker
    folder: Path
    smtp_url: str

    @property
    def state(self) -> Path:
        """Where the bank, the mails and the warehouse are."""
        return self.folder / "state"

    def environment(self, **more: str) -> dict[str, str]:
        """Of every process."""
        told = {"NATS_URL": self.broker.url, "JETMESH_STATE": str(self.state), "PYTHONPATH": PATHS,
                "JETMESH_APP": "jetmesh_shop.flow:SERVICES", "JETMESH_SMTP_URL": self.smtp_url, **QUIET}  # fmt: skip
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, **told, "PATH": path, **more}

    def typed(self, line: str, status: int = 0) -> str:
        """What a command line prints that an operator types in the folder; it must end with this status."""
        done = subprocess.run(
            ["bash", "-c", line], env=self.environment(), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    @contextmanager
    def services(self, port: int) -> Iterator["subprocess.Popen[bytes]"]:
        """All services in one process, whose health is asked on this port."""
        environment = self.environment(JETMESH_HEALTH_PORT=str(port))
        command = [sys.executable, "-m", "jetmesh", "run"]
        with started(command, self.folder / "services.log", env=environment, cwd=ROOT) as process:
            yield process

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Context]:
        """A connection of a customer and auditor."""
        async with connected_with(["--server", self.broker.url]) as mesh:
            yield mesh


@pytest.fixture
def smtp_url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "state").mkdir()
    process, url = start_mail(tmp_path / "state")
    with process:
        yield url
        process.terminate()


@pytest.fixture
def first(tmp_path: Path, smtp_url: str) -> Iterator[Shop]:
    with Broker(tmp_path / "first") as broker:
        yield Shop(broker, tmp_path, smtp_url)


@pytest.fixture
def second(tmp_path: Path, smtp_url: str) -> Iterator[Shop]:
    with Broker(tmp_path / "second") as broker:
        yield Shop(broker, tmp_path, smtp_url)


async def ready(port: int) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success
        except httpx.HTTPError:
            return False


def orders() -> list[OrderPlaced]:
    return list(mix.orders("backup", ORDERS, 1))


async def sell(shop: Shop, placed: list[OrderPlaced], seconds: float) -> None:
    """Orders at a steady rate."""
    async with shop.client() as mesh:
        for order in placed:
            await publish(mesh, order)
            await asyncio.sleep(seconds / len(placed))


async def open_the_shop(shop: Shop) -> None:
    """Some orders wait for services that do not run."""
    shop.typed("jetmesh topology apply")
    await sell(shop, orders()[:8], 0.0)


async def back_up_under_load(shop: Shop) -> str:
    """Sell all orders, and take the backup in the middle; what it printed."""
    (port,) = free_ports(1)
    with shop.services(port):
        await until(lambda: ready(port), WITHIN_SECONDS, "the services are ready")
        async with shop.client() as mesh:
            await stock.seed(mesh)
            selling = asyncio.create_task(sell(shop, orders(), 8.0))
            await until(lambda: _stored(mesh, "NOTIFICATIONS", ORDERS // 3), WITHIN_SECONDS, "much has happened")
        said = await asyncio.to_thread(shop.typed, TAKE)
        await selling
    return said


async def _stored(context: Context, stream: str, count: int) -> bool:
    info = await api.request(context.connection, f"STREAM.INFO.{stream}")
    return bool(info["state"]["messages"] >= count)


async def _books(shop: Shop) -> dict[str, object]:
    done = await asyncio.to_thread(
        subprocess.run, ["jetmesh", "audit", "--json"], env=shop.environment(), capture_output=True, text=True,
        check=False, cwd=ROOT,
    )  # fmt: skip
    found: dict[str, object] = json.loads(done.stdout)
    return found


async def test_a_backup_under_load_is_restored_by_the_documented_words_and_the_books_balance(
    first: Shop, second: Shop
) -> None:
    first.typed("jetmesh topology apply")
    said = await back_up_under_load(first)
    assert "10 streams" in said
    first.typed(CHECK)
    first.broker.kill()
    (port,) = free_ports(1)
    with second.services(port):
        said = await asyncio.to_thread(second.typed, RESTORE)
        assert "the services may start" in said
        assert "Place them again under their ids" in said
        await until(lambda: ready(port), WITHIN_SECONDS, "the services are ready")
        await sell(second, orders(), 2.0)

        async def all_ended() -> bool:
            books = await _books(second)
            return bool(books["clean"])

        try:
            await until(all_ended, WITHIN_SECONDS)
        except AssertionError:
            pytest.fail(second.typed("jetmesh audit", status=0))
        assert "streams and durables are as needed" in second.typed("jetmesh topology plan")
    books = await _books(second)
    counted = books["orders"]
    assert isinstance(counted, dict)
    assert sum(counted.values()) == ORDERS


async def test_a_broker_that_holds_something_is_refused_with_what_it_holds(first: Shop) -> None:
    await open_the_shop(first)
    first.typed("jetmesh backup backup")
    said = first.typed("jetmesh restore backup", status=2)
    assert "INTAKE with 8 messages" in said
    assert "restored whole" in said
    assert "is not empty" in first.typed("jetmesh backup backup", status=2)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_single_stream_is_refused_with_the_reason(first: Shop, command: str) -> None:
    said = first.typed(f"jetmesh {command} backup --stream ORDERS", status=2)
    assert "a single stream can't be backed up or restored" in " ".join(said.replace("│", " ").split())


async def test_half_a_backup_and_a_changed_file_are_refused_by_name(first: Shop, second: Shop) -> None:
    await open_the_shop(first)
    first.typed("jetmesh backup backup")
    folder = first.folder / "backup"
    assert {path.stat().st_mode & 0o077 for path in [folder, *folder.iterdir()]} == {0}
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    assert "no manifest.json" in second.typed("jetmesh restore backup", status=2)
    (folder / "manifest.json").write_bytes(manifest)
    snapshot = folder / "INTAKE.snapshot"
    snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"!")
    assert "INTAKE.snapshot: is not what was written" in second.typed("jetmesh restore --check backup", status=2)
    assert "INTAKE.snapshot: is not what was written" in second.typed("jetmesh restore backup", status=2)
    snapshot.unlink()
    assert "INTAKE.snapshot: is missing" in second.typed("jetmesh restore backup", status=2)


async def test_a_restore_that_was_cut_short_keeps_everybody_out_and_goes_on(first: Shop, second: Shop) -> None:
    await open_the_shop(first)
    first.typed("jetmesh backup backup")
    folder = first.folder / "backup"
    whole = (folder / "manifest.json").read_text()
    told = json.loads(whole)
    last = list(told["streams"])[-1]
    broken = dict(told["streams"][last], state={**told["streams"][last]["state"], "messages": 999})
    (folder / "manifest.json").write_text(json.dumps({**told, "streams": {**told["streams"], last: broken}}))
    assert "messages is" in second.typed("jetmesh restore backup", status=2)
    (folder / "manifest.json").write_text(whole)

    assert "a restore is under way" in second.typed("jetmesh topology apply", status=3)
    assert "a restore is under way" in second.typed("jetmesh topology plan", status=2)
    assert "a restore is under way" in second.typed("jetmesh doctor", status=1)
    (port,) = free_ports(1)
    with second.services(port):
        async with second.client() as mesh:
            info = await api.request(mesh.connection, "STREAM.INFO.INTAKE")
            assert info["config"]["subjects"] == ["jetmesh.restoring.INTAKE"]
        assert not await ready(port)
        assert "the services may start" in second.typed("jetmesh restore backup")
        await until(lambda: ready(port), WITHIN_SECONDS, "the services are ready")
    assert "streams and durables are as needed" in second.typed("jetmesh topology plan")
