"""The built wheel without any extra: it runs a service, and what it can't do names the extra that it takes."""

import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from jetmesh.common.ports import free_ports
from jetmesh.testing import Broker, until
from tests.support.programs import run
from tests.support.wheels import built, clean, installed

HEAVY = ("duckdb", "fastapi", "grpc", "httpx", "pytest", "uvicorn", "yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def bare(wheel: Path) -> Path:
    """A Python that has the wheel and what it always needs."""
    return installed(wheel)


def test_the_wheel_holds_the_runtime_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"jetmesh"}


def test_without_an_extra_nothing_heavy_is_installed(bare: Path) -> None:
    found = run(str(bare), "-c", f"from importlib.util import find_spec as f; print([n for n in {HEAVY} if f(n)])")
    assert found.strip() == "[]"


def test_every_command_of_the_runtime_tells_its_options(bare: Path) -> None:
    jetmesh = str(bare.parent / "jetmesh")
    commands = [line.split()[0] for line in run(jetmesh, "--help").partition("Commands:")[2].splitlines() if line]
    assert "run" in commands
    for command in commands:
        assert f"jetmesh {command}" in run(jetmesh, command, "--help")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["demo"], "demo"),
        (["archive", "--older-than", "1d", "--to", "archive"], "archive"),
        (["topology", "export", "--format", "nack"], "contracts"),
    ],
    ids=str,
)
def test_what_needs_an_extra_names_it(
    bare: Path, service: Path, broker: Broker, arguments: Sequence[str], extra: str
) -> None:
    told = subprocess.run(
        [str(bare.parent / "jetmesh"), *arguments],
        check=False, cwd=service, env={**clean(), "NATS_URL": broker.url}, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode != 0
    assert f"pip install 'jetmesh[{extra}]'" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def test_traces_over_grpc_name_the_extra(bare: Path, service: Path, broker: Broker) -> None:
    chosen = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    told = subprocess.run(
        [str(bare.parent / "jetmesh"), "run", "greetings"],
        check=False, cwd=service, env={**clean(), **chosen, "NATS_URL": broker.url}, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode != 0
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs the package grpc: pip install 'jetmesh[grpc]'" in told.stderr


def test_an_http_api_names_its_extra(bare: Path) -> None:
    told = subprocess.run([str(bare), "-c", "import jetmesh.http"], check=False, capture_output=True, text=True)
    assert told.returncode != 0
    assert "jetmesh.http needs the package fastapi: pip install 'jetmesh[http]'" in told.stderr


def test_the_extra_of_http_is_all_that_an_api_takes(tmp_path: Path) -> None:
    python = installed(built(tmp_path), "[http]")
    made = "from jetmesh.http import HttpSettings, api, serve; print(api(title='Parcels').title)"
    assert run(str(python), "-c", made).strip() == "Parcels"


@pytest.fixture
def service(bare: Path, tmp_path: Path) -> Path:
    """A new service's folder."""
    run(str(bare.parent / "jetmesh"), "new", "service", "greetings", cwd=tmp_path, env=clean())
    return tmp_path / "greetings"


async def test_it_runs_a_service(bare: Path, service: Path, broker: Broker) -> None:
    (port,) = free_ports(1)
    environment = {**clean(), "NATS_URL": broker.url, "JETMESH_HEALTH_PORT": str(port)}
    jetmesh = str(bare.parent / "jetmesh")
    run(jetmesh, "topology", "apply", cwd=service, env=environment)
    async with httpx.AsyncClient() as client:

        async def is_ready() -> bool:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        with running(jetmesh, "run", "greetings", cwd=service, env=environment):
            await until(is_ready, 30)


@contextmanager
def running(*command: str, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """A program, ended as a supervisor ends it; a stop is no failure."""
    with subprocess.Popen(command, cwd=cwd, env=env) as process:
        try:
            yield
        finally:
            process.terminate()
    assert process.returncode == 0
