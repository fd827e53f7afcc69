"""The bundles of permits that one state of a rate limit gives."""

import pytest

from jetmesh import Rate, Stored
from jetmesh.runtime.rate_limit import AHEAD_SECONDS, State, bundle, state_of

NOW = 1_800_000_000.0


def test_after_a_rest_a_burst_begins_at_once_and_the_rest_at_intervals() -> None:
    times, after = bundle(Rate(10, burst=3), State(), NOW, 6)
    assert [round(at - NOW, 3) for at in times] == [0, 0, 0, 0.1, 0.2, 0.3]
    again, _ = bundle(Rate(10, burst=3), after, NOW, 1)
    assert round(again[0] - NOW, 3) == 0.4


def test_nobody_takes_permits_for_more_than_a_second_ahead() -> None:
    times, after = bundle(Rate(10), State(), NOW, 1_000)
    assert NOW + AHEAD_SECONDS - 0.11 < times[-1] <= NOW + AHEAD_SECONDS
    assert bundle(Rate(10), after, NOW, 1_000) == ([], after)


def test_a_pause_holds_for_every_permit() -> None:
    assert bundle(Rate(10, burst=3), State(closed_until=NOW + 60), NOW, 5)[0] == []
    assert bundle(Rate(10, burst=3), State(closed_until=NOW + 0.2), NOW, 2)[0] == [NOW + 0.2] * 2


def test_a_state_of_a_clock_that_was_ahead_holds_up_nobody_for_long() -> None:
    hours_ahead = State(arrival=NOW + 7_200)
    assert bundle(Rate(10), hours_ahead, NOW, 1)[1].arrival < NOW + 3


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"nonsense", b'{"arrival": "x", "closed_until": -1}', b'{"arrival": 1e999}'], ids=repr
)
def test_a_state_that_nobody_here_wrote_begins_anew(data: bytes) -> None:
    assert state_of([Stored("limits.work.finish", 7, "", {}, data)]) == State(0.0, 0.0, 7)
