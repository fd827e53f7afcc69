"""Every command on a broker full of what nothing good ever says: a result or one line, and nothing for the terminal."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import click
import pytest

from jetmesh.commands import commands
from jetmesh.contracts.registry import BUCKET
from jetmesh.jetstream import api
from jetmesh.jetstream.connection import Connection
from jetmesh.runtime.context import connect
from jetmesh.settings import Settings, read
from jetmesh.telemetry import providers
from jetmesh.testing import Broker
from jetmesh.topology import provision
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from tests.mesh.hostile import BODIES, ESCAPES, KEYS, fill

SECONDS_MAX = 90
STYLE = re.compile(r"\x1b\[[0-9;]*m")
FAULT = "a fault of the command itself"
ANSWERED = ("$SRV.STATS", "$SRV.STATS.*", "$SRV.PING", "jetmesh.*.health", "jetmesh.analytics.report")
ANSWERS = [
    *(body for body in BODIES.values() if len(body) < 10_000),
    json.dumps({"name": ["orders"], "endpoints": 7}).encode(),
    json.dumps({"name": "orders", "endpoints": [7, {"name": "reactions", "data": [1]}]}).encode(),
    json.dumps(
        {"name": "orders", "endpoints": [{"name": "reactions", "data": {"reactions": {"place": {"p50_ms": ESCAPES}}}}]}
    ).encode(),
    json.dumps(
        {
            "name": "orders",
            "endpoints": [
                {"name": "reactions", "data": {"reactions": {"place": 7}, "breakers": {ESCAPES: {"state": ESCAPES}}}}
            ],
        }
    ).encode(),
    json.dumps({"ready": ESCAPES, "reason": {"a": ESCAPES}, "notes": [1]}).encode(),
    json.dumps({"orders": [{"placed": ESCAPES}], "confirmation": 7}).encode(),
]


@dataclass(frozen=True)
class Case:
    """How a command is called, and how it may end."""

    arguments: str
    statuses: tuple[int, ...] = (0,)
    stdin: bytes = b""


CASES: dict[str, list[Case]] = {
    "new contracts": [Case("new contracts baked --into {tmp}")],
    "new service": [Case("new service bakery --into {tmp}")],
    "run": [Case("run nobody", (2,))],
    "flow": [Case("flow"), Case("flow --mermaid"), Case("flow --markdown")],
    "topology plan": [Case("topology plan", (0, 1, 2))],
    "topology apply": [Case("topology apply", (0, 2, 3))],
    "topology export": [Case("topology export --format nack")],
    "topology values": [Case("topology values")],
    "topology accounts": [Case("topology accounts {tmp}/teams-keys {tmp}/no-bundle.json", (1, 2))],
    "topology permissions": [Case("topology permissions {tmp}/keys")],
    "contracts show": [Case("contracts show orders.placed")],
    "contracts check": [Case("contracts check --against nats", (1, 2))],
    "contracts publish": [Case("contracts publish", (0, 2))],
    "contracts lint": [Case("contracts lint")],
    "contracts generate": [Case("contracts generate --check")],
    "contracts deployed": [Case("contracts deployed", (0, 2))],
    "contracts retire": [Case("contracts retire orders.\x1b[31m --reason none", (1, 2, 3))],
    "contracts bundle": [Case("contracts bundle")],
    "contracts release": [Case("contracts release --contracts nobodys", (1, 2))],
    "contracts new": [Case("contracts new orders.\x1b[31m", (1, 2))],
    "validate": [Case("validate", (0, 1), body) for body in BODIES.values()],
    "example": [Case("example orders.placed"), Case("example \x1b[31m", (2,))],
    "blobs list": [Case("blobs list", (0, 1, 2)), Case("blobs list --json", (0, 1, 2))],
    "blobs prune": [Case("blobs prune --dry-run", (0, 1, 2))],
    "projections list": [Case("projections list --database {tmp}/none.sqlite", (0, 1, 2))],
    "projections drop": [Case("projections drop nobody\x1b[31m 1 --database {tmp}/none.sqlite", (1, 2))],
    "dlq list": [Case("dlq list"), Case("dlq list --each"), Case("dlq list --json"), Case("dlq list --each --json")],
    "dlq show": [Case("dlq show {letter}"), Case("dlq show {letter} --json"), Case("dlq show 99999999", (1,))],
    "dlq replay": [
        Case("dlq replay --all --dry-run"),
        Case("dlq replay --all", (0, 1)),
        Case("dlq replay --all --json", (0, 1)),
    ],
    "dlq log": [Case("dlq log"), Case("dlq log --json")],
    "dlq discard": [Case("dlq discard --all --dry-run --json"), Case("dlq discard --limit 20 --reaction orders --yes")],
    "dlq undo": [
        Case("dlq undo --all --dry-run", (0, 1)),
        Case("dlq undo --all --json", (0, 1)),
        Case("dlq undo 99999999", (1,)),
    ],
    "archive": [
        Case("archive --older-than 0s --dry-run --to {tmp}/archive"),
        Case("archive --older-than 0s --to {tmp}/archive --json"),
    ],
    "backup": [Case("backup {tmp}/backup --json"), Case("backup {tmp}/backup", (1, 2))],
    "restore": [Case("restore --check {tmp}/backup"), Case("restore {tmp}/backup", (1, 2)), Case("restore x", (1, 2))],
    "pause": [Case("pause notifications.confirm --for 1h"), Case("pause o.\x1b[31m", (2,))],
    "resume": [Case("resume notifications.confirm"), Case("resume o.\x1b[31m", (2,))],
    "top": [Case("top --once"), Case("top --json")],
    "console": [Case("console --host 0.0.0.0", (2,)), Case("console --app nobodys:SERVICES", (2,))],
    "doctor": [Case("doctor", (0, 1)), Case("doctor --json", (0, 1))],
    "audit": [
        Case("audit --state {tmp} --archive {tmp}/archive", (1,)),
        Case("audit --state {tmp} --archive {tmp}/archive --json", (1,)),
    ],
    "bank outage": [Case("bank --state {tmp} outage status", (1,))],
    "bank ledger show": [Case("bank --state {tmp} ledger show", (1,))],
    "dev": [Case("dev --app nobodys:SERVICES --state {tmp}", (1, 2))],
    "demo": [Case("demo --state {tmp} --json", (2,))],
    "load": [Case("load --state {tmp} --rate 5 --seconds 0.2 --wait 1", (0,))],
    "order": [
        *(Case(f"order {key} --state {{tmp}}") for key in KEYS),
        *(Case(f"order {key} --state {{tmp}} --json") for key in KEYS),
        Case("order o-\x1b[31m --state {tmp}", (1,)),
    ],
    "story": [
        *(Case(f"story {key} --state {{tmp}}") for key in KEYS),
        *(Case(f"story {key} --state {{tmp}} --json") for key in KEYS),
        Case("story o-\x1b[31m --state {tmp}", (1,)),
    ],
    "report": [Case("report --state {tmp}", (1, 2)), Case("report --state {tmp} --json", (0, 1, 2))],
}  # fmt: skip


NAMED = {f"{name} {number}": case for name, cases in CASES.items() for number, case in enumerate(cases)}


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands that do something, of all groups."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


def test_no_command_is_left_out() -> None:
    assert sorted(leaves(commands)) == sorted(CASES)


class Stranger:
    """Answers for every service, with something else each time."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._answer()))
        self.is_there = threading.Event()

    def __enter__(self) -> "Stranger":
        self._thread.start()
        assert self.is_there.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _answer(self) -> None:
        connection = Connection()
        await connection.open(self._url, "stranger")

        def answer(_subject: str, reply: str, _headers: bytes, _data: bytes) -> None:
            for body in ANSWERS:
                connection.send(reply, body)

        for subject in ANSWERED:
            await connection.listen(subject, answer)
        await connection.flush()
        self.is_there.set()
        await asyncio.to_thread(self._stop.wait)
        await connection.close()


async def _prepare(url: str) -> int:
    """Streams as they must be, full of everything; the sequence of a letter."""
    settings = read(Settings, {"NATS_URL": url})
    async with connect(settings, providers.start("test", {}), "test") as mesh:
        await provision.apply(mesh.connection, await provision.plan(mesh.connection, topology(SERVICES)))
        await fill(mesh.connection)
        bucket = {"name": f"KV_{BUCKET}", "subjects": [f"$KV.{BUCKET}.>"], "max_msgs_per_subject": 64,
                  "allow_rollup_hdrs": True, "discard": "new", "allow_direct": True}  # fmt: skip
        await api.request(mesh.connection, f"STREAM.CREATE.KV_{BUCKET}", bucket, strict=True)
        for number, body in enumerate(BODIES.values()):
            mesh.connection.send(f"$KV.{BUCKET}.orders.hostile{number}", body)
        mesh.connection.send(f"$KV.{BUCKET}.orders.placed", b'{"consumer": 7, "producer": {"x-owner": []}}')
        await mesh.connection.flush(timeout=20)
        info = await api.request(mesh.connection, "STREAM.INFO.DEAD_LETTERS")
        return int(info["state"]["first_seq"])


@dataclass(frozen=True)
class Haunted:
    """The broker, and what a command needs to know of it."""

    environment: dict[str, str]
    names: dict[str, str]

    def command(self, case: Case) -> list[str]:
        words = case.arguments.split(" ")
        return [
            sys.executable,
            "-m",
            "jetmesh",
            *(word.format(**self.names) if "{" in word else word for word in words),
        ]


@pytest.fixture(scope="module")
def haunted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Haunted]:
    folder = tmp_path_factory.mktemp("haunted")
    with Broker(folder / "broker") as broker:
        letter = asyncio.run(_prepare(broker.url))
        own = {
            "NATS_URL": broker.url,
            "JETMESH_APP": "jetmesh_shop.flow:SERVICES",
            "JETMESH_CONTRACTS": "jetmesh_contracts",
            "JETMESH_STATE": str(folder / "state"),
            "COLUMNS": "120",
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "JETMESH_", "OTEL_"))}
        with Stranger(broker.url):
            yield Haunted({**clean, **own}, {"tmp": str(folder / "state"), "letter": str(letter)})


def check(case: Case, status: int, said: str) -> None:
    """The end is one of those that may be, and the words are words."""
    assert "Traceback" not in said, said[-3_000:]
    assert FAULT not in said, said[-3_000:]
    assert status in case.statuses, (status, said[-3_000:])
    assert [each for each in said if not each.isprintable() and each != "\n"] == [], said[-3_000:]


@pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)
def test_it_ends_with_a_result_or_one_line(haunted: Haunted, case: Case) -> None:
    done = subprocess.run(
        haunted.command(case), input=case.stdin, capture_output=True, timeout=SECONDS_MAX, env=haunted.environment,
        check=False,
    )  # fmt: skip
    check(case, done.returncode, done.stdout.decode() + done.stderr.decode())
    if done.returncode > 1:
        told = [line for line in done.stderr.decode().splitlines() if line.startswith(("jetmesh: ", "Error: "))]
        assert len(told) == 1, done.stderr.decode()
    if "--json" in case.arguments and done.stdout:
        json.loads(done.stdout)


ON_A_TERMINAL = ("dlq list", "dlq show", "dlq log", "order", "top", "audit", "doctor")


@pytest.mark.parametrize("name", ON_A_TERMINAL)
def test_a_terminal_gets_colours_and_nothing_else(haunted: Haunted, name: str) -> None:
    case = CASES[name][0]
    status, said = on_a_terminal(haunted.command(case), haunted.environment)
    check(case, status, STYLE.sub("", said).replace("\r\n", "\n"))


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The exit status, and all that a terminal would have been sent."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    said = b"".join(iter(lambda: _read(mine), b""))
    os.close(mine)
    return process.wait(SECONDS_MAX), said.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""
