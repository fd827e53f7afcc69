"""Node and Go as other teams have them: required in CI, skipped where a machine lacks them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
INTEROP = Path(__file__).parent / "interop"
CONTRACTS = REPOSITORY / "contracts"


def require(program: str) -> str:
    """Where a program is; without it the test is skipped, in CI it fails."""
    found = shutil.which(program)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{program} is not installed; CI needs it")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def run(folder: Path, *command: str | Path) -> str:
    """What a program says; the test fails with its complaints if it does."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="session")
def node_programs() -> Path:
    """The folder of the Node programs with their packages and our types, kept between runs in `.tools`."""
    require("node")
    npm, folder = require("npm"), REPOSITORY / ".tools" / "interop-node"
    folder.mkdir(parents=True, exist_ok=True)
    wanted, marker = (INTEROP / "node" / "package.json").read_text(), folder / "installed.json"
    shutil.copytree(INTEROP / "node", folder, dirs_exist_ok=True)
    shutil.copy(CONTRACTS / "typescript" / "index.ts", folder / "contracts.ts")
    if not marker.is_file() or marker.read_text() != wanted:
        run(folder, npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent")
        marker.write_text(wanted)
    run(folder, folder / "node_modules/.bin/tsc", "--target", "es2022", "--module", "nodenext", "contracts.ts")
    return folder


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Go programs, built."""
    folder = tmp_path_factory.mktemp("go")
    run(INTEROP / "go", require("go"), "build", "-o", folder, "./...")
    return folder
