"""`jetmesh new service`: what it makes works at once, with nothing but the wheel, in a folder of its own."""

import os
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from tests.support.programs import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["Greetings", "1st", "two words", "dotted.name", "under_score", "", "x" * 33, "-a"])
def test_a_name_that_cannot_be_a_services_is_refused(name: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(commands, ["new", "service", "--into", str(tmp_path), "--", name])
    assert isinstance(told.exception, ValueError)
    assert "can't be a service's name: lower-case letters, digits and hyphens" in str(told.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "greetings").mkdir()
    told = CliRunner().invoke(commands, ["new", "service", "greetings", "--into", str(tmp_path)])
    assert "is there already" in str(told.exception)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the built wheel of the runtime, and nothing of this repository."""
    uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
    assert uv, "uv runs these tests"
    folder = tmp_path_factory.mktemp("wheel")
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    (folder / "pins.txt").write_text("\n".join(pins))
    run(uv, "build", "--quiet", "--wheel", "--package", "jetmesh", "--out-dir", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("jetmesh-*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    python = folder / "venv" / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--constraint", str(folder / "pins.txt")]
    run(*install, f"jetmesh[testing] @ {wheel.as_uri()}")
    return python


@pytest.mark.parametrize("name", ["greetings", "new-greetings"])
def test_a_new_service_passes_its_tests_with_the_wheel_alone(python: Path, tmp_path: Path, name: str) -> None:
    ours = ("PYTHON", "PYTEST", "JETMESH")
    clean = {variable: value for variable, value in os.environ.items() if not variable.startswith(ours)}
    jetmesh = str(python.parent / "jetmesh")
    made = run(jetmesh, "new", "service", name, cwd=tmp_path, env=clean)
    assert f"{name}/pyproject.toml" in made
    passed = run(str(python), "-m", "pytest", "-q", cwd=tmp_path / name, env=clean)
    assert "4 passed" in passed
    flow = run(jetmesh, "flow", "--markdown", cwd=tmp_path / name, env=clean)
    assert f"**{name}.answer**: A question was recorded: answer it." in flow
    where = run(str(python), "-c", "import jetmesh; print(jetmesh.__file__)", cwd=tmp_path, env=clean)
    assert not where.startswith(str(ROOT))
