"""The console on a broker with accounts: its own key is enough for every view and action, and opens nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from jetmesh import App
from jetmesh.console.link import Link
from jetmesh.console.serving import served
from jetmesh.console.settings import ConsoleSettings
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.message import Message
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.runtime.context import connect
from jetmesh.settings import Settings, read
from jetmesh.telemetry import providers
from jetmesh.testing import Broker, LocalMesh, until
from jetmesh.topology import accounts, console_users, nkeys
from jetmesh.topology.accounts import CONSOLE, OPERATOR, VIEWER
from tests.console.forms import send
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

APP = App([tollgate()], name="tolls")
VIEWS = ("", "/reactions/tolls/charge", "/letters", "/story", "/streams", "/contracts", "/health", "/log", "/log.csv")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The users' keys."""
    return tmp_path / "keys"


@pytest.fixture
def guarded(tmp_path: Path, keys: Path) -> Iterator[Broker]:
    """A broker with an account for each service of the app, and for its console."""
    known = nkeys.ensure(keys, nkeys.users(APP))
    part = console_users.with_console(accounts.part_of(APP.name, APP, known), APP, known)
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged([part]))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


def _variables(broker: Broker, keys: Path, user: str) -> dict[str, str]:
    prefix = {} if user == OPERATOR else {"JETMESH_NATS_API_PREFIX": accounts.API_PREFIX}
    return {"NATS_URL": broker.url, "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(keys, user)), **prefix}


@asynccontextmanager
async def _mesh(broker: Broker, keys: Path, bank: Bank) -> AsyncIterator[LocalMesh]:
    """The services at work, with cars that were refused, of which the first two came again."""
    async with LocalMesh(APP, [Gate(bank)], _variables(broker, keys, OPERATOR)) as mesh:
        await mesh.start(APP[0])
        for plate in (*sorted(bank.blacklist), "car-good"):
            await mesh.record(CarArrived(plate=plate))
        await mesh.recorded(TollPaid, "car-good")
        await mesh.dead_letters(len(bank.blacklist))
        yield mesh


@asynccontextmanager
async def _console(broker: Broker, keys: Path, user: str, **variables: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at a console with this key."""
    link = Link(read(Settings, _variables(broker, keys, user)))
    settings = read(ConsoleSettings, {"JETMESH_CONSOLE_PORT": "0", **variables})
    async with (
        served(APP, link, settings) as (url, _),
        httpx.AsyncClient(base_url=url.removesuffix("/mesh"), timeout=30) as browser,
    ):
        yield browser


@pytest.mark.parametrize("user", [CONSOLE, VIEWER])
async def test_its_key_is_enough_for_every_view(guarded: Broker, keys: Path, user: str) -> None:
    async with _mesh(guarded, keys, Bank(blacklist={"car-1"})), _console(guarded, keys, user) as browser:
        group = re.findall(r"/mesh(/letters/groups/[0-9a-f]+)", (await browser.get("/mesh/letters")).text)
        more = ("/letters/1", "/letters/1/edit", "/story?key=car-good", "/messages/TOLLS/1", "/contracts/tolls.paid")
        for path in (*VIEWS, *more, *group, "/books?run="):
            answer = await browser.get(f"/mesh{path}", follow_redirects=True)
            assert answer.status_code == 200, (path, answer.text)
            assert "does not answer" not in answer.text
        flow = (await browser.get("/mesh")).text
        health = (await browser.get("/mesh/health")).text
    assert group
    assert "No answer from" not in flow
    assert [words for words in ("not allowed", "not enabled", "does not answer", "no answer") if words in health] == []


async def test_with_its_key_an_operator_does_all_that_the_pages_offer(guarded: Broker, keys: Path) -> None:
    bank = Bank(blacklist={"car-1", "car-2", "car-3"})
    async with _mesh(guarded, keys, bank) as mesh, _console(guarded, keys, CONSOLE) as browser:
        paused = await send(browser, "/mesh/streams", "/mesh/streams/pause", reaction="tolls.charge", length="1 hour")
        assert "tolls.charge is paused" in paused.text
        resumed = await send(browser, "/mesh/streams", "/mesh/streams/resume", reaction="tolls.charge")
        assert "tolls.charge is resumed" in resumed.text
        bank.blacklist.clear()
        letters = [letter async for letter in DeadLetters(mesh.context.connection, mesh.context.publisher).all()]
        first, second, third = (f"/mesh/letters/{letter.sequence}" for letter in letters)
        assert "is replayed" in (await send(browser, first, f"{first}/replay")).text
        discarded = (await send(browser, second, f"{second}/discard", reason="a test")).text
        assert "is discarded" in discarded
        (undo,) = re.findall(r'action="(/mesh/log/\d+/undo)"', discarded)
        assert "is brought back" in (await send(browser, third, undo)).text
        mended = {"body": '{"plate": "car-3"}', "reason": "a test", "step": "send"}
        assert "is edited" in (await send(browser, f"{third}/edit", f"{third}/edit", **mended)).text
        for key in ("car-1", "car-3"):
            await mesh.recorded(TollPaid, key)
        log = (await browser.get("/mesh/log.csv")).text
    assert [action for action in ("replayed", "discarded", "edited", "paused", "resumed") if action not in log] == []


async def test_with_the_viewers_key_no_action_reaches_the_broker(guarded: Broker, keys: Path) -> None:
    """Whatever the console itself would allow: it is told that it may act."""
    async with _mesh(guarded, keys, Bank(blacklist={"car-1"})) as mesh, _console(guarded, keys, VIEWER) as browser:
        before = await mesh.dead_letters(1)
        for page, action, fields in (
            ("/mesh/streams", "/mesh/streams/pause", {"reaction": "tolls.charge", "length": "1 hour"}),
            ("/mesh/letters/1", "/mesh/letters/1/replay", {}),
            ("/mesh/letters/1", "/mesh/letters/1/discard", {"reason": "a test"}),
        ):
            answer = await send(browser, page, action, **fields)
            assert (answer.status_code, "does not answer" in answer.text) == (503, True), answer.text
        info = await api.request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge")
        assert not info.get("paused")
        assert await mesh.dead_letters(1) == before


@pytest.mark.parametrize("user", [CONSOLE, VIEWER])
async def test_its_key_records_no_event_and_changes_no_stream_or_durable(
    guarded: Broker, keys: Path, user: str
) -> None:
    settings = read(Settings, _variables(guarded, keys, user))
    async with (
        _mesh(guarded, keys, Bank()) as mesh,
        connect(settings, providers.start("test", {}), "thief") as console,
    ):
        for subject in ("cars.arrived.x", "tolls.paid.x", "dead.gates.open.CARS.1.1", "timers.tolls.charge.x"):
            with pytest.raises(Unavailable):
                await console.publisher.record(Message(subject, b"{}", {}))
        body = {"name": "TOLLS", "stream_name": "TOLLS", "config": {"durable_name": "evil"}, "seq": 1}
        for call in (
            "STREAM.DELETE.TOLLS", "STREAM.PURGE.TOLLS", "STREAM.PURGE.DEAD_LETTERS", "STREAM.UPDATE.TOLLS",
            "STREAM.CREATE.EVIL", "STREAM.MSG.DELETE.TOLLS", "STREAM.SNAPSHOT.TOLLS", "CONSUMER.CREATE.CARS.evil",
            "CONSUMER.DURABLE.CREATE.CARS.evil", "CONSUMER.DELETE.CARS.tolls-charge",
            "CONSUMER.MSG.NEXT.CARS.tolls-charge", "CONSUMER.PAUSE.DEAD_LETTERS.letters",
        ):  # fmt: skip
            with pytest.raises(Unavailable):
                await api.request(console.connection, call, body, timeout_seconds=2)
        console.connection.send("$JS.ACK.CARS.tolls-charge.1.1.1.1.0", b"+TERM")
        await console.connection.flush(timeout=2)
        streams = await api.stream_names(mesh.context.connection)
        left = await api.request(mesh.context.connection, "STREAM.INFO.TOLLS")
    assert "EVIL" not in streams
    assert left["state"]["messages"] == 1


async def test_the_console_comes_back_with_the_broker(guarded: Broker, keys: Path) -> None:
    async with _mesh(guarded, keys, Bank()), _console(guarded, keys, CONSOLE) as browser:
        guarded.kill()

        async def answers(status: int) -> bool:
            return (await browser.get("/mesh/streams")).status_code == status

        await until(lambda: answers(503))
        await asyncio.to_thread(guarded.start)
        await until(lambda: answers(200))
