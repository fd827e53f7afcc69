"""Each name has one home: headers, subjects, the numbers of the server's errors, and the names of classes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import jetmesh
import jetmesh.http
import jetmesh.testing

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "jetmesh").rglob("*.py"))
SERVICES = sorted((ROOT / "services").rglob("*.py")) + sorted((ROOT / "contracts").rglob("*.py"))
TWICE = {
    "Settings": "the settings of every process; a service's own, which its wiring reads",
    "Event": "the contracts know no runtime, so they have a base of their own",
    "Token": "as `Event`",
    "Request": "as `Event`",
    "Inbox": "the notes of handled deliveries, as the field calls them; the subject for answers, as NATS does",
}
"""Names that two classes have, each with the reason."""
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


def classes(module: Path) -> Iterator[tuple[str, str]]:
    """The name and the definition of each class and each type alias. Aliases of the same type may stand twice."""
    for node in ast.parse(module.read_text()).body:
        match node:
            case ast.ClassDef(name=name):
                yield name, f"class of {module}"
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                if value and re.fullmatch(r"_?[A-Z][a-z]\w*", name) and "TypeVar" not in ast.unparse(value):
                    yield name, ast.unparse(value)


def test_a_class_name_means_one_thing_in_the_runtime() -> None:
    meanings: dict[str, set[str]] = {}
    for name, definition in (each for module in MODULES for each in classes(module)):
        meanings.setdefault(name, set()).add(definition)
    assert {name for name, found in meanings.items() if len(found) > 1} <= set(TWICE)


def test_no_service_gives_a_public_name_another_meaning() -> None:
    own = {name for module in SERVICES for name, _ in classes(module)}
    assert own & {*jetmesh.__all__, *jetmesh.http.__all__, *jetmesh.testing.__all__, "Settings"} <= set(TWICE)
