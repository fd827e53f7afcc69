"""A reaction that declares `in_order` records in the order of its stream, under faults. Planted bugs are found."""

import pytest

from jetmesh.reaction import Reaction
from jetmesh.runtime.failure_policy import FailurePolicy
from tests.simulation.in_order import FollowingMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(30)


def test_what_is_recorded_is_in_the_order_of_its_causes() -> None:
    assert first_wrong(FollowingMesh, SEEDS) == ""


def test_several_in_flight_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The durable delivers the next message before the first one is settled."""
    monkeypatch.setattr(Reaction, "in_flight_max", property(lambda _: 0))
    assert "followed" in first_wrong(FollowingMesh, SEEDS)


def test_a_failed_one_that_others_overtake_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a delayed redelivery, which is off its consumer."""
    monkeypatch.setattr(FailurePolicy, "_in_front", FailurePolicy._come_again)
    monkeypatch.setattr(FailurePolicy, "_stays", lambda *_, **__: False)
    assert "followed" in first_wrong(FollowingMesh, SEEDS)
