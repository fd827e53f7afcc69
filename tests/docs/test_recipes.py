"""The recipes in CONTRIBUTING.md, followed in a copy of the repository: nothing else is to be done by hand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("contracts", "deploy", "docs", "jetmesh", "observability", "services", "tools")
PAGES = ("README.md", "SECURITY.md", "pyproject.toml")
REACTION = '''

@orders.on
async def take_back(request: OrderCancellationRequested, order: Order) -> {outcome} | None:
    """The goods came back: note it."""
    return None
'''
CONTRACT = {
    "What happened, in one sentence.": "The goods came back.",
    "Recorded when …": "Recorded when they are counted.",
}

SERVICE = {
    "__init__.py": '"""Points for customers who order."""\n',
    "domain.py": '''"""Who earns points."""

from jetmesh_contracts import LoyaltyEarned, OrderConfirmed


def earned(order: OrderConfirmed) -> LoyaltyEarned:
    """One point for an order."""
    return LoyaltyEarned(customer_id=order.customer.customer_id)
''',
    "service.py": '''"""Give customers a point for each order."""

from jetmesh import Service
from jetmesh_contracts import LoyaltyEarned, OrderConfirmed
from jetmesh_shop.loyalty import domain

loyalty = Service("loyalty")


@loyalty.on
async def reward(order: OrderConfirmed) -> LoyaltyEarned:
    """An order is confirmed: its customer earns a point."""
    return domain.earned(order)
''',
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What generators read and write."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    (tmp_path / "tests" / "deploy" / "golden").mkdir(parents=True)
    shutil.copytree(ROOT / "tests" / "deploy" / "golden", tmp_path / "tests" / "deploy" / "golden", dirs_exist_ok=True)
    for page in PAGES:
        shutil.copy(ROOT / page, tmp_path / page)
    return tmp_path


@pytest.fixture
def run(copy: Path) -> Callable[..., str]:
    """A module run in the copy, on the copy's code; what it printed."""
    paths = os.pathsep.join(map(str, (copy, copy / "contracts", copy / "services")))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}

    def module(*arguments: str, status: int = 0) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == status, ran.stdout + ran.stderr
        return ran.stdout

    return module


def edited(file: Path, changes: dict[str, str], more: str = "") -> None:
    """Edit by hand."""
    text = file.read_text()
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after, 1)
    file.write_text(text + more)


def test_a_reaction_is_one_function_and_the_rest_is_generated(copy: Path, run: Callable[..., str]) -> None:
    edited(copy / "services/jetmesh_shop/orders/service.py", {}, REACTION.format(outcome="OrderCancelled"))
    assert "not current: README.md" in run("tools.generate", "--check", status=1)
    written = run("tools.generate")
    assert "written: deploy/helm/jetmesh/values.yaml" in written
    assert "written: contracts/asyncapi/asyncapi.json" in written
    assert "not current" not in run("tools.generate", "--check")
    assert "**orders.take_back**: The goods came back: note it." in (copy / "README.md").read_text()
    assert "durable: orders-take_back" in (copy / "deploy/helm/jetmesh/values.yaml").read_text()


def test_an_event_is_made_by_a_command_and_the_rest_is_generated(copy: Path, run: Callable[..., str]) -> None:
    run("jetmesh", "contracts", "new", "orders.returned")
    edited(copy / "contracts/jetmesh_contracts/orders.py", CONTRACT)
    assert (
        'class OrderReturned(OrderEvent, type="orders.returned"):'
        in (copy / "contracts/jetmesh_contracts/orders.py").read_text()
    )
    imported = {"    OrderCancelled,\n": "    OrderCancelled,\n    OrderReturned,\n"}
    edited(copy / "services/jetmesh_shop/orders/service.py", imported, REACTION.format(outcome="OrderReturned"))
    written = run("tools.generate")
    for folder in ("schemas", "asyncapi", "typescript", "go"):
        assert f"written: contracts/{folder}/" in written
    assert "not current" not in run("tools.generate", "--check")
    assert run("jetmesh", "contracts", "lint").endswith(", 0 findings\n")
    assert run("jetmesh", "contracts", "check").endswith(", 0 breaking changes\n")
    run("pytest", "-q", "-p", "no:cacheprovider", "tests/contracts/test_orders_returned.py")


def test_a_service_is_its_own_files_and_a_line_in_the_registry(copy: Path, run: Callable[..., str]) -> None:
    run("jetmesh", "contracts", "new", "loyalty.earned", "--key", "customer_id")
    occurs = {"LoyaltyEarned(Event, type": "LoyaltyEarned(Event, occurrence=True, type"}
    edited(copy / "contracts/jetmesh_contracts/loyalty.py", CONTRACT | occurs)
    folder = copy / "services/jetmesh_shop/loyalty"
    folder.mkdir()
    for name, text in SERVICE.items():
        (folder / name).write_text(text)
    before = "from jetmesh_shop.notifications"
    registered = {before: f"from jetmesh_shop.loyalty.service import loyalty\n{before}"}
    edited(copy / "services/jetmesh_shop/flow.py", registered | {" notifications, ": " loyalty, notifications, "})
    written = run("tools.generate")
    for file in ("pyproject.toml", "deploy/compose.yaml", "deploy/helm/jetmesh/values.yaml", "docs/operations.md"):
        assert f"written: {file}" in written
    assert "not current" not in run("tools.generate", "--check")
    assert run("jetmesh", "contracts", "lint").endswith(", 0 findings\n")
    assert "loyalty.reward" in run("jetmesh", "flow", "--app", "jetmesh_shop.flow:SERVICES")
