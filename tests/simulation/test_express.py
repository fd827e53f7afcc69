"""An express durable is there, added and taken away while faults strike: nothing lost, nothing recorded twice, one
dead letter of each that fails. Planted bugs are found."""

import pytest

from jetmesh.jetstream.delivery import RawDelivery, ack_facts
from jetmesh.runtime import dead_letter
from jetmesh.runtime.express import CopyState, Express
from jetmesh.runtime.gates import ExpressGate
from jetmesh.runtime.precedent import Precedent
from jetmesh.topology import express, starting
from tests.simulation.express import ExpressMesh
from tests.simulation.seeds import first_wrong

SEEDS = range(24)


def test_what_is_urgent_is_recorded_once_whichever_durable_delivers_it() -> None:
    assert first_wrong(ExpressMesh, SEEDS) == ""


def test_a_copy_that_is_settled_before_the_other_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the express durable goes what it had not settled."""

    async def settled(*_: object) -> CopyState:
        return CopyState.SETTLED

    monkeypatch.setattr(Express, "state_of", settled)
    assert "lost" in first_wrong(ExpressMesh, SEEDS)


def test_a_copy_that_does_not_wait_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExpressGate, "is_open", lambda *_: True)
    assert "done 2 times" in first_wrong(ExpressMesh, SEEDS)


def test_a_durable_that_does_not_say_where_it_began_must_not_be_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with what comes, and what was stored before is taken for settled."""

    async def begins(*_: object) -> dict[str, str]:
        return {"deliver_policy": "new"}

    monkeypatch.setattr(starting, "beside", begins)
    assert first_wrong(ExpressMesh, SEEDS[:12]) == ""
    monkeypatch.setattr(express, "delivers", lambda *_: True)
    assert "lost" in first_wrong(ExpressMesh, SEEDS)


def test_a_precedent_that_is_left_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both durables delivered while two versions were at work is recorded again."""
    monkeypatch.setattr(Precedent, "settles", lambda *_: False)
    assert "finished 2 times" in first_wrong(ExpressMesh, SEEDS)


def test_a_dead_letter_of_each_durable_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    of_one = dead_letter.subject_of

    def of_each(service: str, reaction: str, delivery: RawDelivery) -> str:
        return f"{of_one(service, reaction, delivery)}.{ack_facts(delivery.reply)[1]}"

    monkeypatch.setattr(dead_letter, "subject_of", of_each)
    assert "dead letters of" in first_wrong(ExpressMesh, SEEDS)
