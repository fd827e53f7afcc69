"""A program with an account of its own reads and follows what was declared for it, and is refused everything else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

import jetmesh
from jetmesh import App, Recorded, Unavailable
from jetmesh.jetstream import api, polling
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh.topology import accounts, nkeys
from jetmesh.topology.accounts import API_PREFIX
from jetmesh.topology.outside import OutsideUser
from tests.support.chat import MessageSent, RoomClosed, RoomOpened, Tally, chat
from tests.support.jobs import Asked

CHAT = chat()
APP = App((CHAT,), name="chat")
FOLLOWER = OutsideUser("follower", follows=(RoomOpened, Tally))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def nats_broker(tmp_path: Path, keys: Path) -> Iterator[Broker]:
    """A broker with an account for each user."""
    known = nkeys.ensure(keys, nkeys.users(APP, outsiders=[FOLLOWER]))
    part = accounts.with_outsiders(accounts.part_of("chat", APP, known), [FOLLOWER], known)
    config = tmp_path / "nats-server.conf"
    config.write_text(accounts.merged([part]))
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        yield server


def seed(keys: Path, user: str) -> str:
    return str(nkeys.seed_file(keys, user))


@pytest.fixture
async def mesh(mesh_of: MeshOf, keys: Path) -> LocalMesh:
    """The service at work with an account of its own; the test is an operator."""
    found = await mesh_of(CHAT, start=False, JETMESH_NATS_NKEY_SEED=seed(keys, "operator"))
    await found.start(CHAT, JETMESH_NATS_NKEY_SEED=seed(keys, "chat"), JETMESH_NATS_API_PREFIX=API_PREFIX)
    return found


@pytest.fixture
async def follower(
    mesh: LocalMesh, nats_broker: Broker, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[jetmesh.Mesh]:
    """The program outside."""
    monkeypatch.setenv("JETMESH_NATS_API_PREFIX", API_PREFIX)
    monkeypatch.setenv("JETMESH_NATS_INBOX_PREFIX", accounts.inbox_of("follower"))
    async with jetmesh.connect(nats_broker.url, nkey_seed=seed(keys, "follower")) as found:
        yield found


async def taken(events: AsyncIterator[Recorded], count: int) -> list[Recorded]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


async def test_it_sees_what_is_there_and_what_comes(mesh: LocalMesh, follower: jetmesh.Mesh) -> None:
    await mesh.record(RoomOpened(room_id="r-1"))
    await mesh.record(RoomOpened(room_id="r-2"))
    async with aclosing(follower.follow("r-1", Tally, RoomOpened)) as events:
        (opened,) = await taken(events, 1)
        await mesh.outside(MessageSent(room_id="r-1", message_id="m-1"))
        (first,) = await taken(events, 1)
        await mesh.outside(MessageSent(room_id="r-1", message_id="m-2"))
        (tally,) = await taken(events, 1)
    assert [Tally.read(each.data).messages for each in (first, tally)] == [1, 2]
    assert (opened.type, opened.key, tally.type) == ("chat.opened", "r-1", "chat.tally")
    assert opened.sequence < tally.sequence
    page = await follower.read("r-1", Tally)
    assert [each.sequence for each in page.events] == [tally.sequence]
    assert await follower.read("r-1", Tally, after=tally.sequence) == ((), 0)
    assert await follower.read("r-3", RoomOpened) == ((), 0)


async def test_it_goes_on_after_the_broker_was_away(
    mesh: LocalMesh, follower: jetmesh.Mesh, nats_broker: Broker
) -> None:
    await mesh.record(RoomOpened(room_id="r-1"))
    async with aclosing(follower.follow("r-1", RoomOpened, Tally)) as events:
        await taken(events, 1)
        nats_broker.restart()
        await mesh.record(Tally(room_id="r-1", messages=7))
        (tally,) = await taken(events, 1)
    assert Tally.read(tally.data).messages == 7


async def test_what_was_not_declared_is_refused_with_the_file_to_declare_it_in(
    mesh: LocalMesh, follower: jetmesh.Mesh
) -> None:
    await mesh.record(RoomClosed(room_id="r-1"))
    words = (
        r"may not read chat\.closed of the stream CHAT: name it under `follows` of consumers/<team>\.yaml .* of chat"
    )
    with pytest.raises(PermissionError, match=words):
        await follower.read("r-1", RoomClosed)
    with pytest.raises(PermissionError, match=words):
        await anext(follower.follow("r-1", RoomOpened, RoomClosed))
    with pytest.raises(PermissionError, match=r"may not read jobs\.asked of the stream JOBS"):
        await follower.read("j-1", Asked)
    with pytest.raises(PermissionError, match=r"chat\.message_sent happens many times .*: pull a durable \(`durables`"):
        await follower.read("r-1", MessageSent)
    with pytest.raises(PermissionError, match=r"key '\*': this user reads the newest event about one key: name it"):
        await anext(follower.follow("*", Tally))


async def test_it_can_do_nothing_else(mesh: LocalMesh, follower: jetmesh.Mesh) -> None:
    """Whatever its program asks for, past the classes of the client."""
    await mesh.record(RoomClosed(room_id="r-1"))
    connection, denied = follower.context.connection, list[str]()
    connection.on_denied(denied.append)
    calls = [
        "DIRECT.GET.CHAT",
        "DIRECT.GET.CHAT.chat.closed.r-1",
        "DIRECT.GET.CHAT.chat.*.r-1",
        "DIRECT.GET.CHAT.>",
        "DIRECT.GET.INTAKE",
        "STREAM.INFO.CHAT",
        "STREAM.MSG.GET.CHAT",
        "CONSUMER.CREATE.CHAT.follower-x",
        "CONSUMER.CREATE.CHAT.follower-x.chat.opened.*",
        "CONSUMER.MSG.NEXT.CHAT.chat-count",
        "CONSUMER.INFO.CHAT.chat-count",
    ]
    subjects = [f"{prefix}.{call}" for call in calls for prefix in ("$JS.API", API_PREFIX)]
    subjects += ["chat.opened.r-9", "chat.message_sent", "dead.chat.x"]
    answers = await asyncio.gather(
        *(connection.ask(each, b'{"last_by_subj": "chat.closed.r-1"}', 0.5) for each in subjects),
        return_exceptions=True,
    )
    assert all(isinstance(each, Unavailable) for each in answers)
    assert len(denied) == len(subjects)
    assert await mesh.types("r-9") == set()
    assert all("follow" not in each["name"] for each in await api.consumers_of(mesh.context.connection, "CHAT"))


async def test_who_is_on_the_wrong_prefix_is_told_the_setting(
    mesh: LocalMesh, follower: jetmesh.Mesh, nats_broker: Broker, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JETMESH_NATS_API_PREFIX")
    async with jetmesh.connect(nats_broker.url, nkey_seed=seed(keys, "follower")) as astray:
        words = r"may not read the stream CHAT .*JETMESH_NATS_API_PREFIX=jetmesh\.api"
        with pytest.raises(PermissionError, match=words):
            await astray.read("r-1", RoomOpened)
        with pytest.raises(PermissionError, match=words):
            await anext(astray.follow("r-1", RoomOpened))


async def test_a_service_follows_its_own_stream_and_no_other(
    mesh: LocalMesh, nats_broker: Broker, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as its HTTP edge: it has the account of the service, which can't make consumers."""
    monkeypatch.setattr(polling, "PAGE", 5)
    monkeypatch.setenv("JETMESH_NATS_API_PREFIX", API_PREFIX)
    for number in range(12):
        await mesh.record(MessageSent(room_id="r-1", message_id=f"m-{number}"))
    await mesh.settled()
    async with jetmesh.connect(nats_broker.url, nkey_seed=seed(keys, "chat")) as own:
        context = own.context
        async with aclosing(context.follow("r-1", MessageSent, Tally)) as events:
            there = await taken(events, 24)
            await mesh.record(MessageSent(room_id="r-1", message_id="m-12"))
            come = await taken(events, 2)
        page = await context.read("r-1", MessageSent, limit=2)
        with pytest.raises(Unavailable):
            await context.read("j-1", Asked)
    sent = [MessageSent.read(each.data).message_id for each in (*there, *come) if each.type == MessageSent.type]
    assert sent == [f"m-{number}" for number in range(13)]
    assert [each.sequence for each in (*there, *come)] == sorted({each.sequence for each in (*there, *come)})
    assert (len(page.events), page.left) == (2, 11)
