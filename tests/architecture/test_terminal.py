"""What came from outside reaches a terminal through one place, which makes all of it visible."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAYS = {"jetmesh/common/terminal.py", "jetmesh/common/console.py"}
MODULES = sorted(
    path
    for package in ("jetmesh", "services/jetmesh_shop")
    for path in (ROOT / package).rglob("*.py")
    if str(path.relative_to(ROOT)) not in WAYS
)
PASSING_BY = {"click.echo", "click.secho", "print", "sys.stdout.write", "sys.stderr.write", "rich.print", "os.write"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_printed_past_the_one_place(path: Path) -> None:
    tree = ast.parse(path.read_text())
    past = [(name, line) for name, line in calls(tree) if name in PASSING_BY]
    past += [(name, line) for name, line in imported(tree) if name in {"rich.console.Console", "click.echo"}]
    past += [(name, line) for name, line in imported(tree) if name.startswith("rich.print")]
    assert past == [], "say it with jetmesh.terminal or jetmesh.console"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_markup_is_never_read_from_what_is_printed(path: Path) -> None:
    past = [(name, line) for name, line in calls(ast.parse(path.read_text())) if name.endswith(".from_markup")]
    assert past == []
