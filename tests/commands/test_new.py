"""`jetmesh new service`: what it makes works at once, with nothing but the wheel, in a folder of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from tests.support.programs import run
from tests.support.wheels import ROOT, built, clean, installed


@pytest.mark.parametrize("name", ["Greetings", "1st", "two words", "dotted.name", "under_score", "", "x" * 33, "-a"])
def test_a_name_that_cannot_be_a_services_is_refused(name: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(commands, ["new", "service", "--into", str(tmp_path), "--", name])
    assert isinstance(told.exception, ValueError)
    assert "can't be a service's name: lower-case letters, digits and hyphens" in str(told.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "greetings").mkdir()
    told = CliRunner().invoke(commands, ["new", "service", "greetings", "--into", str(tmp_path)])
    assert "exists already" in str(told.exception)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the built wheel of the runtime, and nothing of this repository."""
    return installed(built(tmp_path_factory.mktemp("wheel")), "[testing]")


@pytest.mark.parametrize("name", ["greetings", "new-greetings"])
def test_a_new_service_passes_its_tests_with_the_wheel_alone(python: Path, tmp_path: Path, name: str) -> None:
    bare = clean()
    jetmesh = str(python.parent / "jetmesh")
    made = run(jetmesh, "new", "service", name, cwd=tmp_path, env=bare)
    assert f"{name}/pyproject.toml" in made
    passed = run(str(python), "-m", "pytest", "-q", cwd=tmp_path / name, env=bare)
    assert "6 passed" in passed
    flow = run(jetmesh, "flow", "--markdown", cwd=tmp_path / name, env=bare)
    assert f"**{name}.answer**: A question was recorded: answer it." in flow
    where = run(str(python), "-c", "import jetmesh; print(jetmesh.__file__)", cwd=tmp_path, env=bare)
    assert not where.startswith(str(ROOT))
