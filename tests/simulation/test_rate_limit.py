"""A rate limit over replicas, while faults strike: never more begin than it lets in. Planted bugs are found."""

import pytest

from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import Publisher
from tests.simulation.limits import LimitedMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(40)


def test_never_more_begin_than_the_limit_lets_in() -> None:
    assert first_wrong(LimitedMesh, SEEDS) == ""


def test_a_bundle_that_is_counted_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written without its guard: two replicas take the same bundle."""
    record = Publisher.record

    async def careless(self: Publisher, message: Message, *, limited: bool = True, block: bytes = b"") -> int:
        if message.subject.startswith("limits."):
            message.guard = None
        return await record(self, message, limited=limited, block=block)

    monkeypatch.setattr(Publisher, "record", careless)
    assert "the limit lets in" in first_wrong(LimitedMesh, SEEDS)
