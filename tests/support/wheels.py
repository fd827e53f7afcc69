"""The built wheel of the runtime, installed where nothing of this repository is."""

import os
import shutil
import sys
import tomllib
from pathlib import Path

from tests.support.programs import run

ROOT = Path(__file__).resolve().parents[2]
OURS = ("PYTHON", "PYTEST", "JETMESH", "OTEL")


def clean() -> dict[str, str]:
    """The environment without what the tests run with."""
    return {variable: value for variable, value in os.environ.items() if not variable.startswith(OURS)}


def built(folder: Path) -> Path:
    """The wheel, built into this folder."""
    run(_uv(), "build", "--quiet", "--wheel", "--package", "jetmesh", "--out-dir", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("jetmesh-*.whl")
    return wheel


def installed(wheel: Path, extras: str = "") -> Path:
    """The Python of a new environment beside the wheel, that has it and what it needs."""
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    (wheel.parent / "pins.txt").write_text("\n".join(pins))
    python = wheel.parent / "venv" / "bin" / "python"
    run(_uv(), "venv", "--quiet", "--python", sys.executable, str(wheel.parent / "venv"))
    into = ["--quiet", "--python", str(python), "--constraint", str(wheel.parent / "pins.txt")]
    run(_uv(), "pip", "install", *into, f"jetmesh{extras} @ {wheel.as_uri()}")
    return python


def _uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
    assert found, "uv runs these tests"
    return found
