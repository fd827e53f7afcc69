"""The verdict on a failure: again after a pause that grows and is drawn by lot, or given up, with the reason."""

import pytest

from jetmesh import NotYet, Permanent, Retry, Unavailable
from jetmesh.failure import BrokenContract, verdict
from jetmesh.outcome import DeadLettered, Later, Retried

RETRY = Retry(attempts=3, first_seconds=0.2, longest_seconds=10)


@pytest.mark.parametrize("error", [Permanent("no"), BrokenContract("field: wrong")])
def test_what_trying_again_cannot_help_is_given_up_at_once(error: Permanent) -> None:
    assert verdict(error, RETRY, 1) == DeadLettered(error)


def test_any_other_failure_is_tried_until_the_attempts_are_used_up() -> None:
    error = OSError("down")
    assert [type(verdict(error, RETRY, delivered)) for delivered in (1, 2, 3)] == [Retried, Retried, DeadLettered]
    assert isinstance(verdict(error, Retry(attempts=None), 1_000_000), Retried)


def test_an_outage_uses_up_no_attempts_and_not_yet_has_a_name_of_its_own() -> None:
    outage, not_yet = verdict(Unavailable("bank", 3.0), RETRY, 50), verdict(NotYet("later"), RETRY, 1)
    assert isinstance(outage, Retried)
    assert outage.pause_seconds >= 3.0
    assert isinstance(not_yet, Later)


def test_pauses_grow_to_the_longest_and_are_spread_over_the_whole_range() -> None:
    for delivered, ceiling in ((1, 0.2), (2, 0.4), (5, 3.2), (20, 10.0), (10_000, 10.0)):
        pauses = [RETRY.pause_seconds(delivered) for _ in range(400)]
        assert 0 <= min(pauses) < 0.1 * ceiling
        assert 0.9 * ceiling < max(pauses) <= ceiling
