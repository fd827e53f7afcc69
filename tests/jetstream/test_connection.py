"""No end of a connection is the last: whatever the server says or nats-py runs into, a new one follows."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jetmesh.failure import Unavailable
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.credentials import Credentials
from jetmesh.process import process
from jetmesh.process.health import Health
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.settings import Settings, SettingsError, read
from jetmesh.testing import Broker, LocalMesh, MeshOf, until
from jetmesh.topology import nkeys
from tests.support.jobs import Asked, Finished


class Configured(Broker):
    """A broker whose configuration may change while it runs."""

    def __init__(self, folder: Path, words: str) -> None:
        self._file = folder / "nats-server.conf"
        folder.mkdir()
        self._file.write_text(words)
        super().__init__(folder / "store", "-c", str(self._file))

    def reload(self, words: str) -> None:
        """Change it (`nats-server --signal reload`)."""
        self._file.write_text(words)
        os.kill(self.pid, signal.SIGHUP)


def password(word: str) -> str:
    """A configuration with one user."""
    return f"authorization {{ users: [{{user: ada, password: {word}}}] }}"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Configured]:
    """A broker that knows one user."""
    with Configured(tmp_path / "guarded", password("old")) as server:
        yield server


def url(broker: Broker, word: str = "old") -> str:
    """Its address, with the user."""
    return f"nats://ada:{word}@127.0.0.1:{broker.port}"


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Connection]:
    """A connection, and its end."""
    connection = Connection()
    await connection.open(address, "test", within_seconds=10)
    try:
        yield connection
    finally:
        await connection.close()


def written(connection: Connection, line: bytes) -> None:
    """Say to the server what no client of its own would say."""
    assert connection._client._transport is not None
    connection._client._transport.write(line)


async def works(connection: Connection) -> bool:
    """Whether the server answers."""
    try:
        await connection.flush(timeout=2)
    except Exception:
        return False
    return connection.is_connected


def _reconnections(connection: Connection) -> list[int]:
    """Grows with each reconnection."""
    seen: list[int] = []
    connection.on_reconnected(lambda: seen.append(1))
    return seen


async def test_a_password_that_is_changed_and_changed_back_costs_nothing(
    guarded: Configured, finishing: Service
) -> None:
    async with LocalMesh([finishing], (), {"NATS_URL": url(guarded)}) as mesh:
        replica = await mesh.start(finishing)
        guarded.reload(password("new"))
        refused = "not connected to the broker: the broker refuses the user and password in NATS_URL"
        await mesh.until(lambda: replica.health.why_not == refused)
        guarded.reload(password("old"))
        await mesh.until(lambda: not replica.health.why_not, 20)
        await mesh.record(Asked(job_id="j-1"))
        await mesh.recorded(Finished, "j-1")


@pytest.mark.parametrize("line", [b"PUB x 2000000\r\n", b"NONSENSE\r\n"], ids=["payload", "unknown operation"])
async def test_an_error_of_the_server_leads_to_a_new_connection(broker: Broker, line: bytes) -> None:
    async with opened(broker.url) as connection:
        again = _reconnections(connection)
        written(connection, line)
        await until(lambda: again)
        assert await works(connection)


async def test_a_server_that_takes_fewer_connections_takes_this_one_later(tmp_path: Path) -> None:
    with Configured(tmp_path / "narrow", "max_connections: 10") as broker:
        settings = read(Settings, {"NATS_URL": broker.url})
        first, second = Connection(Credentials(settings)), Connection(Credentials(settings))
        for connection in (first, second):
            await connection.open(broker.url, "test", within_seconds=10)
        broker.reload("max_connections: 1")
        left_out = await until(lambda: next((one for one in (first, second) if "max_connections" in one.trouble), None))
        broker.reload("max_connections: 10")
        await until(lambda: not left_out.trouble, 20)
        for connection in (first, second):
            assert await works(connection)
            await connection.close()


async def test_an_error_that_concerns_one_subject_leaves_the_connection_as_it_is(broker: Broker) -> None:
    async with opened(broker.url) as connection:
        again = _reconnections(connection)
        written(connection, b"SUB >.x 77\r\n")
        await until(lambda: "invalid subject" in str(connection.last_error))
        assert await works(connection)
        assert not again


def _stop_reading(connection: Connection) -> None:
    """The next bytes can't be read."""

    async def fail(_: bytes = b"") -> None:
        raise IndexError("what nobody foresaw")

    client = connection._client
    client._ps.parse = fail  # type: ignore[method-assign,assignment]
    asyncio.get_running_loop().call_later(0.5, client._ps.__dict__.pop, "parse")
    connection.send("x", b"")
    written(connection, b"PING\r\n")


def _stop_writing(connection: Connection) -> None:
    """Whoever writes meets what it does not know."""
    assert connection._client._flush_queue is not None
    connection._client._flush_queue.put_nowait(None)  # type: ignore[arg-type]


def _stop_pinging(connection: Connection) -> None:
    """Whoever pings gives up, as at a transport that uvloop has closed."""

    async def fail(_: Any = None) -> None:
        del client._send_ping
        raise RuntimeError("the handler is closed")

    client = connection._client
    client.options["ping_interval"] = 0.05
    client._send_ping = fail  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("end", [_stop_reading, _stop_writing, _stop_pinging])
async def test_a_connection_without_one_of_its_tasks_is_made_anew(
    broker: Broker, end: Callable[[Connection], None]
) -> None:
    async with opened(broker.url) as connection:
        again = _reconnections(connection)
        end(connection)
        await until(lambda: again, 20)
        assert await works(connection)


async def test_what_is_unsubscribed_while_the_broker_is_away_is_not_subscribed_again(broker: Broker) -> None:
    async with opened(broker.url) as connection:
        again = _reconnections(connection)
        subscription = await connection.listen("x.*", lambda *_: None)
        broker.kill()
        await until(lambda: not connection.is_connected)
        await connection.stop_listening(subscription)
        broker.start()
        await until(lambda: again, 20)
        with pytest.raises(Unavailable, match="nobody answers"):
            await connection.ask("x.y", b"")


async def test_a_stranger_at_the_address_does_not_end_the_trying(broker: Broker) -> None:
    """Its first words are no INFO that nats-py can read, which once ended the task that reconnects."""
    came = asyncio.Event()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        writer.write(b"INFO\r\n")
        writer.close()

    async with opened(broker.url) as connection:
        again = _reconnections(connection)
        broker.kill()
        async with await asyncio.start_server(greet, "127.0.0.1", broker.port):
            await asyncio.wait_for(came.wait(), 15)
        broker.start()
        await until(lambda: again, 20)
        assert await works(connection)


async def test_a_server_that_takes_connections_and_says_nothing_is_told_in_words() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    told: list[str] = []
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        connection = Connection()
        with pytest.raises(TimeoutError):
            await connection.open(f"nats://127.0.0.1:{port}", "test", within_seconds=4, on_failure=told.append)
        await connection.close()
    assert "sends nothing" in told[0]


async def test_a_callback_that_fails_does_not_keep_the_others_from_being_called(broker: Broker) -> None:
    async with opened(broker.url) as connection:

        def fail() -> None:
            raise RuntimeError("what nobody foresaw")

        connection.on_reconnected(fail)
        again = _reconnections(connection)
        await connection._client.force_reconnect()
        await until(lambda: again)
        assert await works(connection)


async def test_a_connection_that_is_closed_for_good_ends_the_service_with_its_reason(
    mesh_of: MeshOf, finishing: Service
) -> None:
    mesh = await mesh_of(finishing, start=False)
    places: list[Context] = []

    @asynccontextmanager
    async def wire(place: Context) -> AsyncIterator[None]:
        places.append(place)
        yield None

    health = Health("work")
    life = asyncio.create_task(process.serve(finishing, [finishing], mesh.settings, health, asyncio.Event(), wire))
    await until(lambda: not health.why_not)
    connection = places[0].connection
    assert isinstance(connection, Connection)
    await connection.close()
    with pytest.raises(ConnectionError, match="closed for good"):
        await asyncio.wait_for(life, 10)


async def test_a_question_over_a_connection_that_is_closed_has_no_answer(connection: Connection) -> None:
    await connection.close()
    with pytest.raises(Unavailable, match="closed for good"):
        await connection.ask("$JS.API.INFO", b"")


async def test_a_key_is_read_again_at_each_connect(tmp_path: Path) -> None:
    old, new = (nkeys.ensure(tmp_path / name, ["ada"])["ada"][0] for name in ("first", "second"))
    seed = tmp_path / "ada.nk"
    seed.write_text(nkeys.seed_file(tmp_path / "first", "ada").read_text())
    with Configured(tmp_path / "broker", f"authorization {{ users: [{{nkey: {old}}}] }}") as broker:
        settings = read(Settings, {"NATS_URL": broker.url, "JETMESH_NATS_NKEY_SEED": str(seed)})
        connection = Connection(Credentials(settings))
        await connection.open(broker.url, "test", within_seconds=10)
        broker.reload(f"authorization {{ users: [{{nkey: {new}}}] }}")
        await until(lambda: f"does not know the key {old}: JETMESH_NATS_NKEY_SEED" in connection.trouble)
        seed.write_text("half a fi")
        await until(lambda: f"does not know the key {old}" in connection.trouble)
        seed.write_text(nkeys.seed_file(tmp_path / "second", "ada").read_text())
        await until(lambda: not connection.trouble, 20)
        await connection.close()


async def test_no_key_is_told_from_a_broker_that_is_not_there(guarded: Configured) -> None:
    connection = Connection(Credentials(read(Settings, {"NATS_URL": guarded.url})))
    with pytest.raises(TimeoutError):
        await connection.open(guarded.url, "test", within_seconds=1)
    assert connection.trouble.endswith(
        "the broker asks who this is: JETMESH_NATS_NKEY_SEED must name the file with the seed of one of its users"
    )


@pytest.mark.parametrize("words", ["", "nonsense", "SAADZPXH4EXUFTBOZWTBBF3ASFZSBWMAHYPJNRZFYFM2W2VWOEI7TB6O44"])
def test_a_file_without_a_users_seed_is_named(tmp_path: Path, words: str) -> None:
    (tmp_path / "seed").write_text(words)
    settings = read(Settings, {"JETMESH_NATS_NKEY_SEED": str(tmp_path / "seed")})
    with pytest.raises(SettingsError, match=r"JETMESH_NATS_NKEY_SEED: .*seed holds no seed of a user"):
        Credentials(settings)


async def test_a_broker_that_is_away_is_logged_once(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(broker.url) as connection:
        broker.kill()
        tries: list[Exception] = []
        told = connection._on_error

        async def count(error: Exception) -> None:
            tries.append(error)
            await told(error)

        connection._client._error_cb = count
        await until(lambda: len(tries) > 5, 20)
        lines = [record.getMessage() for record in caplog.records if record.name == "jetmesh.connection"]
        assert len(lines) == len(set(lines)) <= 3, lines
        broker.start()
        await until(lambda: connection.is_connected, 20)


async def test_a_server_that_cuts_slow_consumers_gets_smaller_requests_until_all_is_done(
    tmp_path: Path, finishing: Service, caplog: pytest.LogCaptureFixture
) -> None:
    count, body = 60, " " * 200_000
    with Configured(tmp_path / "strict", 'max_pending: 1MB\nmax_payload: 512KB\nwrite_deadline: "200ms"\n') as server:
        async with LocalMesh([finishing], (), {"NATS_URL": server.url, "JETMESH_ACK_WAIT_SECONDS": "1"}) as mesh:
            for number in range(count):
                await mesh.publish(f"jobs.asked.j-{number}", json.dumps({"job_id": f"j-{number}"}) + body)
            await mesh.start(finishing)
            await until(lambda: _all_finished(mesh, count), 30)
            assert "Slow Consumer" in server.log
            assert len(_lines(caplog)) < 10, _lines(caplog)


async def _all_finished(mesh: LocalMesh, count: int) -> bool:
    return await mesh.count("WORK") == count


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "jetmesh.connection"]


async def test_opening_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    with Broker(tmp_path / "away") as broker:
        broker.kill()
        opening = asyncio.create_task(Connection().open(broker.url, "test"))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(opening, 5)


async def test_a_flush_that_is_given_up_costs_nothing(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    given_up = [asyncio.create_task(connection.flush()) for _ in range(3)]
    await asyncio.sleep(0)
    for flush in given_up:
        flush.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    await connection.flush()
    assert connection.trouble == ""
    assert [record.getMessage() for record in caplog.records] == []


async def test_what_a_message_leads_to_is_written_in_the_same_pass_of_the_loop(connection: Connection) -> None:
    loop, left = asyncio.get_running_loop(), list[int]()

    def step() -> None:
        loop.call_soon(lambda: left.append(len(connection._client._pending)))
        connection.send("said.then", b"")

    def frame(*_: object) -> None:
        loop.call_soon(step)

    await connection.listen("said.first", frame)
    connection.send("said.first", b"")
    await until(lambda: left)
    assert left == [0]
