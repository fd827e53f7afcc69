"""Who follows right after something has come is read for often; where many follow, each less often."""

from typing import Any

import pytest

from jetmesh.jetstream import polling
from jetmesh.jetstream.polling import Polled


def _polls(number: int) -> list[Polled]:
    nothing: Any = None
    return [Polled(nothing, "ORDERS", f"orders.*.o-{n}", 0, once=False, pages=True) for n in range(number)]


@pytest.mark.parametrize(
    ("followed", "seconds", "pause"),
    [(1, 0.0, 0.03), (50, 0.0, 0.05), (1_000, 0.0, 0.1), (1, 5.0, 0.1), (1_000, 60.0, 0.5)],
)
def test_what_many_follow_is_read_less_often(followed: int, seconds: float, pause: float) -> None:
    with polling._following(_polls(followed)):
        assert polling._pause(seconds) == pause
    assert polling._pause(0.0) == polling.QUICK_SECONDS
