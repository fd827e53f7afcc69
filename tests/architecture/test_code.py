"""What a linter does not see: decisions are pure, what is public says what it means, and nothing is left to be done."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jetmesh", "contracts/jetmesh_contracts", "services/jetmesh_shop")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PURE = sorted(
    [*(ROOT / "services/jetmesh_shop").glob("*/domain.py"), *(ROOT / "contracts/jetmesh_contracts").glob("*.py")]
)
TEXTS = [".py", ".md", ".toml", ".yaml", ".yml", ".html", ".js"]
LINES_MAX = 45

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """Public classes and functions of a module, and the public methods of its public classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def is_explained_elsewhere(node: Definition) -> bool:
    """An override, an overload or a field-like property says what it means where it is declared first."""
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return bool(decorators & {"overload", "typing.overload", "override"})


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_decisions_and_contracts_never_wait(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), node.lineno
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {name.partition(".")[0] for name in names} & {"asyncio", "nats", "opentelemetry"}, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_begins_by_saying_its_one_thing(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)) or not path.read_text().strip()


@pytest.mark.parametrize("service", sorted((ROOT / "services/jetmesh_shop").glob("*/service.py")), ids=name_of)
def test_a_reaction_says_what_happened_and_what_is_done(service: Path) -> None:
    for node in functions(tree_of(service)):
        if not node.name.startswith("_"):
            assert ":" in (ast.get_docstring(node) or "") or isinstance(node, ast.FunctionDef) or _is_protocol(node)


def _is_protocol(node: ast.AST) -> bool:
    body = getattr(node, "body", [])
    return len(body) == 1


def test_what_is_public_says_what_it_means() -> None:
    """A ratchet: functions and classes at the top of a module, without those that a framework names."""
    missing = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, Definition)
        and not node.name.startswith("_")
        and not is_explained_elsewhere(node)
        and not ast.get_docstring(node)
    ]
    assert missing == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for path in MODULES
        for node in functions(tree_of(path))
        if (node.end_lineno or 0) - node.lineno + 1 > LINES_MAX
    ]
    assert long == []


def test_nothing_is_left_to_be_done() -> None:
    word = re.compile(r"\b(TO" r"DO|FIX" r"ME|HA" r"CK)\b")
    skip = {".git", ".venv", ".tools", ".jetmesh", "node_modules", "__pycache__"}
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in ROOT.rglob("*")
        if path.suffix in TEXTS and path.is_file() and not skip & set(path.relative_to(ROOT).parts)
        for match in word.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


def test_a_service_that_starts_loads_nothing_that_only_people_need() -> None:
    ask = (
        "import sys, jetmesh.commands.run, jetmesh_shop.flow; "
        "print(*sorted({name.split('.')[0] for name in sys.modules} | "
        "{name for name in sys.modules if name.startswith('jetmesh.')}))"
    )
    loaded = set(subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split())

    for_people = {"rich", "yaml", "httpx", "duckdb", "jetmesh.operate", "jetmesh.contracts"}
    assert {"jetmesh.runtime.runner", "jetmesh_shop"} <= loaded
    assert loaded & for_people == set()
    for_some = {"aiosmtplib", "email_validator", "fastapi", "idna", "jinja2", "uvicorn"}
    assert loaded & for_some == set(), "every process of the mesh would load what some of its services need"


def test_the_subjects_of_the_jetstream_api_are_made_in_one_place() -> None:
    """Who writes one elsewhere speaks to the domain that is nearest."""
    literals = re.compile(r'f?"\$JS\.(API|[{])')
    allowed = {"jetmesh/jetstream/transport.py", "jetmesh/settings.py"}
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in MODULES
        if name_of(path) not in allowed and "simulation" not in path.parts
        for match in literals.finditer(path.read_text())
    ]
    assert found == []
