"""Attempts of one process about one key go on from what the others record, under faults. Planted bugs are found."""

from collections.abc import Collection, Sequence

import pytest

from jetmesh.jetstream.direct_get import Stored, last_sequence
from jetmesh.runtime.same_key import SameKey
from tests.simulation.same_key import PostMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(25)


def test_each_event_is_recorded_once() -> None:
    assert first_wrong(PostMesh, SEEDS) == ""


def test_a_guard_that_passes_over_what_others_recorded_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on from the newest event that its process recorded, whatever another process recorded before that."""

    def since(self: SameKey, stored: Sequence[Stored], _but_not: Collection[str] = ()) -> Sequence[Stored]:
        return (*stored, *[event for _, event in self.recorded if event.sequence > last_sequence(stored)])

    monkeypatch.setattr(SameKey, "since", since)
    assert "recorded {" in first_wrong(PostMesh, range(10, 130))
