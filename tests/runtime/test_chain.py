"""The chain: a step that stands in one list holds for every form of reaction."""

from collections.abc import Sequence

import pytest

from jetmesh import Recorded, Service, Snapshot
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.outcome import Outcome
from jetmesh.runtime import handle
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.gates import Handler
from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, Finished, Noted, Work, work

KEYS = {"j-1", "j-2"}


class Limit:
    """A rate limit: the first delivery of each key waits once."""

    passed: set[tuple[str, str]]

    def __init__(self, binding: Binding) -> None:
        self._reaction = binding.reaction.name

    def is_open(self, delivery: RawDelivery) -> bool:
        return (self._reaction, delivery.key) in self.passed

    async def handle(self, delivery: RawDelivery, then: Handler[RawDelivery]) -> Outcome:
        self.passed.add((self._reaction, delivery.key))
        return await then(delivery)


def of_three_forms(kept: set[str]) -> Service:
    """A service with a reaction to one, one to many, and a sink."""
    service = work()

    @service.on
    async def note(asked: Asked) -> Noted:
        """A job is asked for: note it."""
        return Noted(job_id=asked.job_id)

    @service.on_many
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Jobs are asked for: do them together."""
        stories = await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        return [Finished(job_id=one.job_id) for one in asked if not stories[one.job_id].finished]

    @service.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""
        kept.update(event.key for event in events)

    return service


@pytest.mark.parametrize("is_limited", [False, True])
async def test_a_gate_that_is_added_holds_for_one_for_many_and_for_a_sink(
    mesh_of: MeshOf, monkeypatch: pytest.MonkeyPatch, is_limited: bool
) -> None:
    kept = set[str]()
    Limit.passed = set()
    if is_limited:
        monkeypatch.setattr(handle, "GATES", (*handle.GATES, Limit))
    mesh = await mesh_of(of_three_forms(kept))
    for key in sorted(KEYS):
        await mesh.record(Asked(job_id=key))
    await mesh.settled()
    assert kept == KEYS
    assert {key for key in KEYS if {"work.noted", "work.finished"} <= await mesh.types(key)} == KEYS
    expected = {(name, key) for name in ("note", "finish", "keep") for key in KEYS}
    assert Limit.passed == (expected if is_limited else set())
