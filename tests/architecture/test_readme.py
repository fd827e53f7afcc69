"""The README shows what is there: code that stands in the repository, commands that run."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_service_in_the_readme_is_the_service() -> None:
    service = (ROOT / "services/jetmesh_shop/payments/service.py").read_text()
    shown = blocks("python")

    assert shown
    assert all(block in service for block in shown)


def test_continuous_integration_runs_the_tests_by_the_command_in_the_readme() -> None:
    command = next(line for block in blocks("console") for line in block.splitlines() if "just test" in line)

    assert command.partition("#")[0].strip() in (ROOT / ".ci/run").read_text()


def test_continuous_integration_runs_every_test() -> None:
    ci = (ROOT / ".ci/run").read_text()
    collected = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["testpaths"]
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]

    missed = [test for test in tests if not any(fnmatch(test, f"{path}*") for path in collected)]
    assert [test for test in missed if test not in ci] == []


def test_every_command_in_the_readme_exists() -> None:
    from jetmesh.commands import commands

    named = set(re.findall(r"jetmesh ([a-z]+)", "\n".join(blocks("console"))))
    context = commands.make_context("jetmesh", [], resilient_parsing=True)

    assert named <= set(commands.list_commands(context))


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_map_of_the_runtime_names_every_room_once() -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    section = architecture.partition("## The rooms of the runtime")[2].partition("\n## ")[0]
    named = [
        name.rstrip("/")
        for name in re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)))
    ]
    there = {
        path.stem for path in (ROOT / "jetmesh").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert sorted(named) == sorted(there - {"__init__", "__main__"} | {"scaffold"})
