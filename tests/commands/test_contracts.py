"""The commands as a developer of another team uses them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jetmesh.commands.contracts import contracts
from jetmesh.commands.example import example
from jetmesh.commands.validate import validate
from jetmesh_contracts import EVENTS, Event
from tests.support import samples

APP = "jetmesh_shop.flow:SERVICES"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETMESH_CONTRACTS", "jetmesh_contracts")
    monkeypatch.setenv("JETMESH_APP", APP)
    monkeypatch.setenv("COLUMNS", "120")


def run(command: Callable[..., object], *arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(command, arguments, input=text)  # type: ignore[arg-type]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_example_is_right_and_fresh_each_time(event: type[Event]) -> None:
    bodies = [run(example, event.type).stdout for _ in range(2)]
    assert bodies[0] != bodies[1]
    assert all(body.count("\n") == 1 for body in bodies)
    assert run(validate, "--type", event.type, text=bodies[0]).exit_code == 0


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_show_says_everything_about_an_event(event: type[Event]) -> None:
    shown = run(contracts, "show", event.type)
    assert shown.exit_code == 0
    for label in ("owner", "readers", "versions", "example", "Recorded"):
        assert label in shown.output


def order(**changes: object) -> str:
    body = {**samples.body(), **changes}
    return json.dumps({name: value for name, value in body.items() if value is not None})


LINE = {"sku": "cola", "quantity": 1, "unit_price_minor": 290}

WRONG = {
    order(lines=[{**LINE, "quantity": "2"}]): "lines[0].quantity: is a text; write 2, without quotes",
    order(payment_method=7): 'payment_method: is a number; write "7", in quotes',
    order(payment_method=None, paymentmethod="pm"): "paymentmethod: is no field of this event; did you mean payment_",
    order(currency=None): "currency: is missing; ISO 4217 code",
    order(currency="XYZ"): "currency: \"XYZ\" is not one of the values; write 'EUR',",
    order(order_id="o.1"): 'order_id: "o.1" is not allowed; write 1 to 64 printable ASCII characters',
    order(lines=[{**LINE, "quantity": 5000}]): "lines[0].quantity: input should be less than or equal to 1000",
    order(lines=[]): "lines: has 0 items; write at least 1",
    "[1]": "body: is a list; write one JSON object",
    "{order_id: 1}": "body: is not JSON",
    json.dumps(
        {"specversion": "0.3", "type": "orders.placed", "id": "1", "source": "/x", "data": json.loads(order())}
    ): "specversion: '0.3' is not supported",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=[said.partition(";")[0] for said in WRONG.values()])
def test_validate_says_what_is_wrong_and_what_mends_it(text: str, said: str) -> None:
    result = run(validate, text=text)
    assert result.exit_code == 1
    assert said in result.output
    assert len(result.output.splitlines()) <= 2


def test_an_order_without_an_id_is_right() -> None:
    result = run(validate, text=order(order_id=None))
    assert result.exit_code == 0
    assert "the service that records the event makes one" in result.output


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package of contracts in a git repository of its own, with a first release."""
    folder = tmp_path / "shop"
    home = folder / "shop_contracts"
    home.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "shop-contracts"\nversion = "1"\n')
    for name in ("event.py", "growing.py"):
        source = (REPOSITORY / "contracts" / "jetmesh_contracts" / name).read_text()
        (home / name).write_text(source.replace("jetmesh_contracts", "shop_contracts"))
    (home / "__init__.py").write_text(
        '"""Events."""\n\nfrom shop_contracts.event import Event\n\nEVENTS = (\n)\n\n__all__ = [\n    "Event",\n]\n'
    )
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("JETMESH_CONTRACTS", "shop_contracts")
    return folder


def jetmesh(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`jetmesh contracts …` in a process of its own: classes that were changed are read anew."""
    code = "from jetmesh.commands.contracts import contracts; contracts()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_new_event_is_made_released_and_then_protected(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{repository}:{REPOSITORY}:{REPOSITORY / 'contracts'}")
    made = jetmesh(repository, "new", "parcels.packed", "--tests", "tests")
    assert made.returncode == 0, made.stderr
    assert (repository / "tests" / "test_parcels_packed.py").is_file()
    assert jetmesh(repository, "lint").stdout == "1 contracts, 0 findings\n"
    assert jetmesh(repository, "generate").returncode == 0
    unreleased = jetmesh(repository, "check")
    assert unreleased.returncode == 1
    assert "write the first with `jetmesh contracts release`" in unreleased.stderr
    for _ in range(2):
        assert jetmesh(repository, "release").stdout == f"released: {repository / 'releases' / '1.json'}\n"
    assert jetmesh(repository, "check").stdout == "1 contracts, 1 compared with, 0 breaking changes\n"
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "parcels: pack them")
    git(repository, "tag", "v1")

    module = repository / "shop_contracts" / "parcels.py"
    module.write_text(module.read_text() + '    label: Token = Field(description="What is on it.")\n')
    broken = jetmesh(repository, "check")
    assert broken.returncode == 1
    assert "parcels.packed label: field-required" in broken.stdout
    assert jetmesh(repository, "generate", "--check").returncode == 1
    assert jetmesh(repository, "check", "--mode", "forward").returncode == 0
    assert jetmesh(repository, "check", "--against", "v1").stdout == broken.stdout
    assert "v2" in jetmesh(repository, "check", "--against", "v2").stderr

    project = repository / "pyproject.toml"
    project.write_text(project.read_text().replace('"1"', '"2"'))
    assert jetmesh(repository, "release").returncode == 1
    module.write_text(module.read_text().replace("label: Token = Field(", 'label: Token = Field("none", '))
    assert jetmesh(repository, "release").returncode == 0
    assert sorted(file.name for file in (repository / "releases").iterdir()) == ["1.json", "2.json"]
    assert jetmesh(repository, "check").stdout == "1 contracts, 2 compared with, 0 breaking changes\n"
    project.write_text(project.read_text().replace('"2"', '"1.5"'))
    assert "version 1.5: 2 was released already: raise `version`" in jetmesh(repository, "release").stderr

    saved = repository / "bundle.json"
    saved.write_text(jetmesh(repository, "bundle").stdout)
    assert jetmesh(repository, "check", "--against", "bundle.json").returncode == 0
