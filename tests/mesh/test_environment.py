"""Where the commands are run: whatever is strange there is one line that names the cause and the fix, or no trouble."""

import os
import re
import shlex
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from jetmesh.common.ports import free_ports
from jetmesh.local import broker as brokers
from jetmesh.local.state import StateFolder
from jetmesh.testing import Broker
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.state import Stores
from tests.support.programs import ROOT

NOBODY = 65_533
SECONDS_MAX = 90
PROXY = "http://127.0.0.1:9"


def clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "JETMESH_", "OTEL_"))}


def jetmesh(*arguments: str, cwd: Path | None = None, user: int | None = None, **environment: Any) -> tuple[int, str]:
    """The exit status, and what was said; no traceback in any case."""
    become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    done = subprocess.run(
        [*become, sys.executable, "-m", "jetmesh", *arguments], capture_output=True, text=True, cwd=cwd, check=False,
        env={**clean(), **environment}, timeout=SECONDS_MAX,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert "a fault of the command itself" not in said, said
    return done.returncode, said


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as server:
        assert jetmesh("topology", "apply", NATS_URL=server.url)[0] == 0
        yield server


@pytest.fixture
def root() -> None:
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody else, with setpriv")


@pytest.mark.usefixtures("root")
def test_a_user_without_a_name_can_work(broker: Broker) -> None:
    status, said = jetmesh("dlq", "log", user=NOBODY, cwd=Path("/"), NATS_URL=broker.url)
    assert status == 0, said


@pytest.mark.parametrize("name", ["ü", 'with "quotes"', "with space", "日本", "$dollar", "#hash"])
def test_the_brokers_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    state = StateFolder(tmp_path / name)
    port, monitor_port = free_ports(2)
    written = brokers.configuration(SERVICES, state, port=port, monitor_port=monitor_port)
    process = subprocess.Popen(brokers.command(written, state), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = next((line for line in process.stderr if "Store Directory" in line or "[FTL]" in line), "nothing")
    finally:
        process.kill()
        process.communicate()
    assert str(state.broker / "jetstream") in said


@pytest.mark.parametrize("command", ["demo --exit", "audit", "report", "order o-1", "load"])
def test_a_backslash_is_refused_with_its_reason(tmp_path: Path, command: str) -> None:
    status, said = jetmesh(*command.split(), "--state", str(tmp_path / "a\\b"))
    assert (status, "backslash" in said) == (2, True), said


ASCII: dict[str, dict[str, Any]] = {
    "PYTHONIOENCODING": {"PYTHONIOENCODING": "ascii"},
    "C locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("environment", ASCII.values(), ids=ASCII)
@pytest.mark.parametrize(
    "command", ["flow", "doctor", "top --once", "dlq list", "contracts show orders.placed", "example"]
)
def test_a_terminal_that_shows_ascii_gets_ascii(broker: Broker, command: str, environment: dict[str, Any]) -> None:
    contracts: dict[str, Any] = {"JETMESH_CONTRACTS": "jetmesh_contracts"}
    status, said = jetmesh(*command.split(), NATS_URL=broker.url, **contracts, **environment)
    assert status == (1 if command == "doctor" and "wrong" in said.replace("nothing is wrong", "") else 0), said
    assert said.isascii(), said


def test_no_proxy_is_asked_for_what_is_the_meshs_own(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Broker(tmp_path, "-m", str(port)) as server:
        monitor = f"http://127.0.0.1:{port}"
        proxies: dict[str, Any] = {"http_proxy": PROXY, "HTTP_PROXY": PROXY, "https_proxy": PROXY, "all_proxy": PROXY}
        _, said = jetmesh("doctor", "--monitor", monitor, NATS_URL=server.url, **proxies)
    assert "sync_interval is" in said, said


def test_the_images_health_check_asks_no_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
        (command,) = re.findall(r'CMD \["python", "-c", "(.*)"\]', dockerfile)
        environment = {**clean(), "http_proxy": PROXY, "JETMESH_HEALTH_PORT": str(server.getsockname()[1])}
        asking = subprocess.Popen([sys.executable, "-c", command], env=environment)
        server.settimeout(20)
        connection, _ = server.accept()
        with connection:
            connection.recv(1_000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert asking.wait(20) == 0


@pytest.mark.parametrize(
    "spelling",
    [
        "{url}",
        "NATS://{place}",
        "{url},",
        ",{url}",
        " {url} ",
        "{url} , nats://127.0.0.1:1",
        "{place}",
        "{url}/",
        "{url},,",
    ],
)
def test_the_address_may_be_spelled_in_any_way(broker: Broker, spelling: str) -> None:
    spelled = spelling.format(url=broker.url, place=broker.url.removeprefix("nats://"))
    status, said = jetmesh("dlq", "list", NATS_URL=spelled)
    assert (status, said) == (0, "no dead letters\n")


@pytest.mark.parametrize(
    "wrong", [",", " ", "nats://", "http://127.0.0.1:4222", "nats://h:port", "nats://h:99999", "nats://u:p/q@h", "a b"]
)
def test_what_is_no_address_is_said_in_one_line_without_the_password(wrong: str) -> None:
    status, said = jetmesh("dlq", "list", NATS_URL=wrong)
    if not wrong.strip():
        return
    assert (status, said.count("\n"), "NATS_URL" in said, "p/q" in said) == (2, 1, True, False), said


def test_a_password_may_hold_what_a_url_must_encode(tmp_path: Path) -> None:
    config = tmp_path / "nats-server.conf"
    config.write_text('authorization { user: "a@b", password: "p@s:s/%2F" }\n')
    with Broker(tmp_path / "broker", "-c", str(config)) as server:
        place = server.url.removeprefix("nats://")
        good = f"nats://a%40b:p%40s%3As%2F%252F@{place}"
        assert jetmesh("topology", "apply", NATS_URL=good)[0] == 0
        status, said = jetmesh("dlq", "list", NATS_URL=good.replace("p%40s", "x%40s"))
    assert status != 0
    assert "x%40s" not in said
    assert "x@s" not in said


@pytest.mark.parametrize("variable", ["JETMESH_HEALTH_PORT", "JETMESH_HTTP_PORT"])
def test_a_port_in_use_is_named_with_its_setting(broker: Broker, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        more: dict[str, Any] = {
            variable: port,
            "JETMESH_HTTP_SECRET": "0123456789abcdef" * 2,
            "JETMESH_LOG_FORMAT": "text",
        }
        assert jetmesh("topology", "apply", NATS_URL=broker.url, JETMESH_APP="jetmesh_shop.flow:SERVICES")[0] == 0
        status, said = jetmesh("run", "orders", NATS_URL=broker.url, JETMESH_APP="jetmesh_shop.flow:SERVICES", **more)
    assert status != 0, said
    assert variable in said, said
    assert port in said, said


DAMAGED = {
    "bank.sqlite": ["bank --state {state} ledger show", "bank --state {state} outage status", "audit --state {state}"],
    "mail.sqlite": ["audit --state {state}"],
    "analytics.duckdb": ["report --state {state}"],
}


@pytest.mark.parametrize(
    "junk", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 5_000], ids=["junk", "half"]
)
@pytest.mark.parametrize(("file", "command"), [(file, each) for file, commands in DAMAGED.items() for each in commands])
def test_a_damaged_file_is_named_with_what_to_do(
    broker: Broker, tmp_path: Path, file: str, command: str, junk: bytes
) -> None:
    (tmp_path / file).write_bytes(junk)
    status, said = jetmesh(*shlex.split(command.format(state=tmp_path)), NATS_URL=broker.url)
    assert (status, said.count("\n"), file in said, "move it away" in said) == (2, 1, True, True), said
    assert "http" not in said, said


@pytest.mark.parametrize("command", ["bank --state {state} ledger show", "audit --state {state}"])
def test_a_ledger_that_somebody_holds_is_not_to_be_moved_away(broker: Broker, tmp_path: Path, command: str) -> None:
    with closing(sqlite3.connect(tmp_path / "bank.sqlite")) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.execute("BEGIN EXCLUSIVE")
        status, said = jetmesh(*command.format(state=tmp_path).split(), NATS_URL=broker.url)
    assert (status, said.count("\n"), "another process" in said, "away" in said) == (2, 1, True, False), said


def test_a_secret_that_a_full_disk_left_empty_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "http.secret").touch()
    secret = Stores(tmp_path).secret()
    assert len(secret) == 64
    assert Stores(tmp_path).secret() == secret


def test_damaged_endpoints_are_no_trouble(broker: Broker, tmp_path: Path) -> None:
    for damaged in ("[]", "{}", '{"nats_args": 7}', "\0", '{"nats_args": [1]}'):
        (tmp_path / "endpoints.json").write_text(damaged)
        status, said = jetmesh("dlq", "list", JETMESH_STATE=str(tmp_path), JETMESH_CONNECT_SECONDS="0.5")
        assert (status, said.count("\n")) == (2, 1), said


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("mode", [0o700, 0o755])
@pytest.mark.parametrize("command", ["demo --free-ports --exit", "audit", "bank ledger show", "report"])
def test_another_users_folder_is_refused_in_one_line(tmp_path: Path, mode: int, command: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("mesh.pid", "bank.sqlite", "analytics.duckdb"):
        (theirs / name).touch(0o600)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    theirs.chmod(mode)
    first, *rest = command.split()
    status, said = jetmesh(first, "--state", str(theirs), *rest, user=NOBODY, cwd=Path("/"))
    assert status in (1, 2), said
    assert "theirs" in said, said
    assert len([line for line in said.splitlines() if line.startswith(("Error", "jetmesh: "))]) == 1, said


def test_a_folder_of_the_packages_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "jetmesh_shop").mkdir()
    (tmp_path / "jetmesh_shop" / "__init__.py").touch()
    for command in ("flow", "audit", "demo --exit"):
        status, said = jetmesh(*command.split(), cwd=tmp_path, JETMESH_APP="jetmesh_shop.flow:SERVICES")
        assert (status in (1, 2), str(tmp_path / "jetmesh_shop") in said) == (True, True), said
    (tmp_path / "jetmesh_shop" / "__init__.py").unlink()
    assert jetmesh("flow", cwd=tmp_path, JETMESH_APP="jetmesh_shop.flow:SERVICES")[0] == 0


@pytest.mark.parametrize("command", ["audit", "demo --exit"])
def test_a_folder_that_is_gone_is_said(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    run = f"cd {gone} && rmdir {gone} && {sys.executable} -P -m jetmesh {command}"
    done = subprocess.run(
        ["sh", "-c", run], env=clean(), capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert (done.returncode, done.stderr.count("\n"), "was deleted" in done.stderr) == (2, 1, True), done.stderr


@pytest.mark.parametrize("command", ["flow", "contracts bundle", "example orders.placed"])
def test_a_full_disk_behind_the_output_is_said(command: str) -> None:
    known = {"JETMESH_APP": "jetmesh_shop.flow:SERVICES", "JETMESH_CONTRACTS": "jetmesh_contracts"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jetmesh", *command.split()], env={**clean(), **known}, stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=SECONDS_MAX, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n"), "make room" in done.stderr) == (2, 1, True), done.stderr


def test_a_closed_input_is_an_empty_one() -> None:
    run = f"{sys.executable} -m jetmesh validate --contracts jetmesh_contracts <&-"
    done = subprocess.run(
        ["sh", "-c", run], env=clean(), capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")


NO_VALUES = {
    f"{command} {value}": f"{command} {value}"
    for command in ("load --rate", "load --seconds", "top --interval", "dlq replay --all --rate")
    for value in ("nan", "inf", "1e999")
}  # fmt: skip
OUT_OF_REACH = ("load --rate 1e300", "dlq show 0", "dlq show 18446744073709551616", "dlq replay 0",
                "archive --older-than 99999999999999999999d")  # fmt: skip


@pytest.mark.parametrize("command", [*NO_VALUES, *OUT_OF_REACH])
def test_a_number_that_means_nothing_is_refused(command: str) -> None:
    status, said = jetmesh(*command.split(), JETMESH_APP="jetmesh_shop.flow:SERVICES")
    assert (status, "Invalid value for" in said) == (2, True), said


@pytest.mark.parametrize("key", ["*", ">", "", "a b", "a.b", os.fsdecode(b"o-\xff")])
def test_what_is_no_key_of_an_order_is_refused(broker: Broker, key: str) -> None:
    status, said = jetmesh("order", key, NATS_URL=broker.url)
    assert (status, "is not a key" in said) == (2, True), said


@pytest.mark.parametrize("url", ["http://[::1", "http://h\n", "garbage"])
def test_what_is_no_address_of_jaeger_is_named(broker: Broker, url: str) -> None:
    status, said = jetmesh("order", "o-1", NATS_URL=broker.url, JETMESH_JAEGER_URL=url)
    assert (status, "JETMESH_JAEGER_URL" in said) == (1, True), said


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"data": 7}', b'{"data": [7]}', b'{"data": [{"spans": [1]}]}'])
def test_an_answer_that_is_not_jaegers_is_named(broker: Broker, answer: bytes) -> None:
    with listening(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    ) as port:
        status, said = jetmesh("order", "o-1", NATS_URL=broker.url, JETMESH_JAEGER_URL=f"http://127.0.0.1:{port}")
    assert (status, "JETMESH_JAEGER_URL" in said) == (1, True), said


@pytest.mark.parametrize(
    "greeting", [b"INFO []\r\n", b"INFO 7\r\n", b"INFO null\r\n", b'INFO {"max_payload": []}\r\nPONG\r\n']
)
@pytest.mark.parametrize("command", ["dlq list", "doctor"])
def test_what_listens_there_may_be_no_broker(greeting: bytes, command: str) -> None:
    with listening(greeting) as port:
        environment: dict[str, Any] = {"JETMESH_APP": "jetmesh_shop.flow:SERVICES", "JETMESH_CONNECT_SECONDS": "0.5"}
        status, said = jetmesh(*command.split(), NATS_URL=f"nats://127.0.0.1:{port}", **environment)
    assert (status, str(port) in said) == (1 if command == "doctor" else 2, True), said


@contextmanager
def listening(greeting: bytes) -> Iterator[int]:
    """Somebody who says the same to everybody; the port."""

    class Greeter(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(greeting)
                self.request.recv(65_536)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def no_jetstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a user whose account has no JetStream, as services' and customers' have none."""
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "nats-server.conf").write_text(
        "accounts { MESH { jetstream: enabled, users: [{user: o, password: o}] }, "
        "OTHER { users: [{user: s, password: s}] } }\n"
    )
    with Broker(folder / "broker", "-c", str(folder / "nats-server.conf")) as server:
        yield server.url.replace("nats://", "nats://s:s@")


WITH_A_KEY = (
    "audit", "dlq list", "dlq log", "order o-1", "topology plan", "topology apply", "contracts check --against nats",
    "contracts publish", "backup {tmp}/backup", "archive --to {tmp}/archive", "load --rate 1 --seconds 1",
)  # fmt: skip


@pytest.mark.parametrize("command", WITH_A_KEY)
def test_a_user_without_jetstream_is_told_whose_key_it_takes(no_jetstream: str, tmp_path: Path, command: str) -> None:
    known: dict[str, Any] = {"JETMESH_APP": "jetmesh_shop.flow:SERVICES", "JETMESH_CONTRACTS": "jetmesh_contracts"}
    status, said = jetmesh(*command.format(tmp=tmp_path).split(), NATS_URL=no_jetstream, **known)
    assert (status in (1, 2, 3), said.count("\n"), "JETMESH_NATS_NKEY_SEED" in said) == (True, 1, True), said
