"""`jetmesh new service`: what it makes works at once, with nothing but the wheel, in a folder of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from jetmesh.commands import commands
from jetmesh.contracts.scaffold import singular
from tests.support.programs import run
from tests.support.wheels import ROOT, built, clean, installed


@pytest.mark.parametrize("name", ["Greetings", "1st", "two words", "dotted.name", "under_score", "", "x" * 33, "-a"])
def test_a_name_that_cannot_be_a_services_is_refused(name: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(commands, ["new", "service", "--into", str(tmp_path), "--", name])
    assert isinstance(told.exception, ValueError)
    assert "can't be a service's name: lower-case letters, digits and hyphens" in str(told.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("json", "it would hide the package json"),
        ("class", "it is a keyword of Python"),
        ("match", "it is a keyword of Python"),
        ("pydantic", "it would hide the package pydantic"),
        ("intake", "the stream INTAKE is for something else"),
        ("dead-letters", "the stream DEAD_LETTERS is for something else"),
        ("orders-timers", "the stream ORDERS_TIMERS is for something else"),
        ("operator", "it would hide the package operator"),
        ("mesh", "the broker has a user or an account mesh already"),
        ("client", "the broker has a user or an account client already"),
    ],
)
def test_a_name_that_could_not_work_is_refused_with_the_reason(name: str, why: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(commands, ["new", "service", name, "--into", str(tmp_path)])
    assert f"{name!r} can't be a service's name: {why}" in str(said.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "greetings").mkdir()
    told = CliRunner().invoke(commands, ["new", "service", "greetings", "--into", str(tmp_path)])
    assert "exists already" in str(told.exception)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the built wheel of the runtime, and nothing of this repository."""
    return installed(built(tmp_path_factory.mktemp("wheel")), "[contracts,testing]")


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


def test_a_new_package_of_contracts_is_accepted_by_every_command(python: Path, tmp_path: Path) -> None:
    bare, jetmesh = clean(), str(python.parent / "jetmesh")
    run(jetmesh, "new", "contracts", "shop-contracts", cwd=tmp_path, env=bare)
    home = tmp_path / "shop-contracts"

    def contracts(*words: str) -> str:
        return run(jetmesh, "contracts", *words, cwd=home, env=bare)

    contracts("generate")
    assert "1 contracts, 0 findings" in contracts("lint")
    contracts("release")
    assert "0 breaking changes" in contracts("check")
    contracts("new", "orders.placed")
    contracts("new", "orders.returned")
    contracts("generate")
    contracts("generate", "--check")
    assert "0 breaking changes" in contracts("check")
    assert "Recorded when" in contracts("show", "parcels.sent")
    assert '"parcel_id"' in run(jetmesh, "example", "parcels.sent", cwd=home, env=bare)
    assert "passed" in run(str(python), "-m", "pytest", "-q", cwd=home, env=bare)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--event", "dishes"], "dishes: a type is <entity>.<event>"),
        (["--event", "dishes.cooked", "--owner", "The Kitchen"], "--owner The Kitchen: a service is small letters"),
        (["--event", "dishes.cooked", "--key", "read"], "--key read: a field is a Python name"),
    ],
    ids=str,
)
def test_an_event_that_a_package_cannot_begin_with_is_refused(arguments: list[str], why: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(commands, ["new", "contracts", "kitchen-contracts", "--into", str(tmp_path), *arguments])
    assert why in str(said.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_package_of_contracts_begins_with_the_event_that_is_named(tmp_path: Path) -> None:
    options = ["--event", "dishes.cooked", "--owner", "kitchen", "--into", str(tmp_path)]
    CliRunner().invoke(commands, ["new", "contracts", "kitchen-contracts", *options], catch_exceptions=False)
    (written,) = (tmp_path / "kitchen-contracts" / "kitchen_contracts").glob("kitchen.py")
    assert 'class DishCooked(Event, type="dishes.cooked", owner="kitchen", key_field="dish_id")' in written.read_text()


@pytest.mark.parametrize(
    ("entity", "one"),
    [
        ("orders", "order"), ("dishes", "dish"), ("deliveries", "delivery"), ("boxes", "box"), ("addresses", "address"),
        ("houses", "house"), ("status", "status"), ("access", "access"), ("mail", "mail"), ("s", "s"),
    ],
)  # fmt: skip
def test_a_class_and_a_key_name_one_of_an_entity(entity: str, one: str) -> None:
    assert singular(entity) == one
