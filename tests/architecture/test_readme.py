"""The README's command runs every test, and ARCHITECTURE.md names every room. (What the pages show: tests/docs.)"""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_continuous_integration_runs_the_tests_by_the_command_in_the_readme() -> None:
    command = next(line for block in blocks("console") for line in block.splitlines() if "just test" in line)

    assert command.partition("#")[0].strip() in (ROOT / ".ci/run").read_text()


def test_continuous_integration_runs_every_test() -> None:
    ci = (ROOT / ".ci/run").read_text()
    collected = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["testpaths"]
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]

    missed = [test for test in tests if not any(fnmatch(test, f"{path}*") for path in collected)]
    assert [test for test in missed if test not in ci] == []


def test_each_answer_of_where_to_look_is_there() -> None:
    section = (ROOT / "ARCHITECTURE.md").read_text().partition("## Where to look")[2].partition("\n## ")[0]
    answers = re.findall(r"((?:`\w+`(?:, | and )?)+) in `([\w/.]+)`", section)
    missed = [
        f"{name} in {path}"
        for names, path in answers
        for name in re.findall(r"\w+", names.replace(" and ", " "))
        if not re.search(rf"^ *(?:(?:async )?def |class )?{name}\b(?=[:(= ])", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert len(answers) >= len(re.findall(r"^\| .*\? \|", section, re.MULTILINE)) > 5
    assert missed == []


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
