"""Occurrences and a state that counts them, while faults strike: each once, counted once. Planted bugs are found."""

from collections.abc import Sequence
from typing import Any

import pytest

from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import Publisher
from jetmesh.runtime.several import Planned, Several
from jetmesh.runtime.single import Case
from tests.simulation.chat import ChatMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(120)


def test_each_message_is_recorded_once_and_counted_once() -> None:
    assert first_wrong(ChatMesh, SEEDS) == ""


@pytest.mark.parametrize("place", [0, -1], ids=["the occurrence", "the state"])
def test_a_guard_left_out_of_one_message_of_a_commit_is_caught(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    record_all = Publisher.record_all

    async def careless(self: Publisher, messages: Sequence[Message]) -> int:
        if len(messages) > 1:
            messages[place].guard = None
        return await record_all(self, messages)

    monkeypatch.setattr(Publisher, "record_all", careless)
    assert first_wrong(ChatMesh, SEEDS)


def test_two_readings_instead_of_one_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decided on the first, guarded by the second."""
    record_all: Any = Several._record_all

    async def careless(self: Any, case: Case, plan: Sequence[Planned], stored: Sequence[Stored]) -> None:
        await record_all(self, case, plan, await self._read(case))

    monkeypatch.setattr(Several, "_record_all", careless)
    assert first_wrong(ChatMesh, SEEDS)
