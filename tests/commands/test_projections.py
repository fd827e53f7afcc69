"""`jetmesh projections`: which versions of a read model there are, and how one is dropped."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jetmesh.commands import commands
from tests.support.read_models import two_versions


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two versions of a read model, of which the second is read."""
    file = tmp_path / "visits.db"

    asyncio.run(two_versions(file))
    return file


def projections(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["projections", *map(str, arguments)])


def listed(database: Path) -> list[list[str]]:
    """The words of each line, without the times."""
    lines = projections("list", "--database", database).output.splitlines()[1:]
    return [[word for word in line.replace(",", "").split() if "T" not in word] for line in lines]


def test_the_versions_are_listed_and_one_that_is_not_read_is_dropped(database: Path) -> None:
    assert listed(database) == [
        ["visits", "1", "built", "visits_v1"],
        ["visits", "2", "built", "read", "visits_v2"],
    ]
    assert projections("drop", "visits", "1", "--database", database).output == "dropped: visits_v1\n"
    assert listed(database)[0] == ["visits", "1", "dropped"]


def test_the_version_that_is_read_stays(database: Path) -> None:
    said = projections("drop", "visits", "2", "--database", database)
    assert said.exit_code == 1
    assert "version 2 of the projection visits is read: let a later one take over first" in said.output


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    said = projections("list", "--database", tmp_path / "away" / "visits.db")
    assert said.exit_code == 1
    assert "unable to open database file" in said.output
