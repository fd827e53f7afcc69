"""What is public is said in five modules (`PUBLIC`); services, templates and pages import nothing else."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path

import pytest

import jetmesh
import jetmesh.extend
import jetmesh.http
import jetmesh.sql
import jetmesh.testing
from jetmesh_shop.flow import SERVICES

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {"jetmesh", "jetmesh.extend", "jetmesh.http", "jetmesh.sql", "jetmesh.testing"}
SHOP = ROOT / "services" / "jetmesh_shop"
AUTHORS = [
    *(path for service in SERVICES for path in (SHOP / service.name).rglob("*.py")),
    *SHOP.glob("*.py"),
    *(ROOT / "examples").rglob("*.py"),
    *(ROOT / "jetmesh" / "scaffold").rglob("*.py.template"),
]
PAGES = [ROOT / "README.md", *(ROOT / "docs" / "authors").glob("*.md")]
AT_WORK = {"nats", "opentelemetry", "jetmesh.runtime", "jetmesh.jetstream", "jetmesh.telemetry", "jetmesh.process"}

IMPORTS = re.compile(r"^ *(?:from jetmesh[. ].*?import (?:\([^)]*\)|.*)|import jetmesh\b.*)$", re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(text: str) -> Iterator[tuple[str, str]]:
    """Each module that is imported, with each name that is taken from it."""
    for line in IMPORTS.findall(text):
        (node,) = ast.parse(line.strip()).body
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("path", [*AUTHORS, *PAGES], ids=name_of)
def test_who_writes_services_imports_what_is_public(path: Path) -> None:
    for module, name in imported(path.read_text()):
        assert module in PUBLIC, f"{module} is internal; give {name} at the public surface, or do without it"
        assert not name or name in sys.modules[module].__all__


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_what_is_public_is_there_and_says_what_it_means(module: str) -> None:
    for name in sys.modules[module].__all__:
        assert getdoc(getattr(sys.modules[module], name)), name


def test_each_public_name_has_its_module() -> None:
    assert set(jetmesh._HOMES) == set(jetmesh.__all__) <= set(dir(jetmesh))
    with pytest.raises(AttributeError, match="module 'jetmesh' has no attribute 'nothing'"):
        jetmesh.nothing  # noqa: B018


def test_the_package_loads_nothing_until_a_name_is_asked_for() -> None:
    ask = "import sys, jetmesh; print(*(name for name in sys.modules if name.startswith('jetmesh')))"
    loaded = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["jetmesh"]


def test_declaring_services_loads_nothing_that_only_a_service_at_work_needs() -> None:
    ask = "import sys, jetmesh, jetmesh_shop.flow; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split())
    assert "jetmesh_shop.orders.service" in loaded
    assert loaded & AT_WORK == set()
