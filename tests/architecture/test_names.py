"""Each name on the wire is spelled in one place: headers, subjects, and the numbers of the server's errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "jetmesh").rglob("*.py"))
HOMES = {
    re.compile(r"(Nats|Jetmesh)-[A-Z]|^ce-[a-z]"): ["jetstream/headers.py"],
    re.compile(r"^(dead|dead_log|timers|due|claims)\.|_(TIMERS|CLAIMS)$"): ["topology/names.py"],
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "jetmesh").as_posix()


def texts(tree: ast.Module) -> Iterator[str]:
    """Every string that is no documentation."""
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and node not in said:
            yield node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value


@pytest.mark.parametrize("pattern", HOMES, ids=lambda pattern: str(pattern.pattern))
def test_a_name_on_the_wire_is_spelled_in_its_home(pattern: re.Pattern[str]) -> None:
    found = {name_of(path): [t for t in texts(ast.parse(path.read_text())) if pattern.search(t)] for path in MODULES}
    assert {name for name, spelled in found.items() if spelled} <= set(HOMES[pattern])
    assert found[HOMES[pattern][0]]


def test_the_servers_errors_are_known_by_name() -> None:
    numbers = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int and 10_001 <= node.value <= 10_999
    }
    assert numbers == {"jetstream/errors.py"}
