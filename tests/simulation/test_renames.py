"""A renamed reaction goes on where it was, while faults strike: nothing lost, nothing again. A planted bug is found."""

import pytest

from jetmesh.topology import starting
from tests.simulation.renames import RenamedMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(40)


def test_a_renamed_reaction_goes_on_where_it_was() -> None:
    assert first_wrong(RenamedMesh, SEEDS) == ""


def test_a_start_position_that_is_lost_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The durable of the new name begins with what comes, and not where that of the former name was."""
    monkeypatch.setattr(starting, "_behind", lambda _: {"deliver_policy": "new"})
    assert "lost" in first_wrong(RenamedMesh, SEEDS)
