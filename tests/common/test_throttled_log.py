"""What lasts is one line in the log, with a count."""

import asyncio
import logging

import pytest

from jetmesh import Unavailable
from jetmesh.common.throttled_log import Conditions, kind_of, reason_of

log = logging.getLogger("test")


def failed(name: str) -> Exception:
    try:
        if name == "key":
            raise KeyError(name)
        raise ValueError(name)
    except (KeyError, ValueError) as error:
        return error


async def test_the_first_is_told_at_once_and_the_others_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    conditions = Conditions(log, first_seconds=0.05)
    for number in range(1_000):
        conditions.log("full", logging.WARNING, "no room for %d", number)
    assert caplog.messages == ["no room for 0"]
    await asyncio.sleep(0.1)
    assert caplog.messages == ["no room for 0", "no room for 999 (999 more)"]


async def test_what_is_over_and_begins_again_is_news(caplog: pytest.LogCaptureFixture) -> None:
    conditions = Conditions(log, first_seconds=0.01)
    for _ in range(2):
        conditions.log("full", logging.WARNING, "no room")
        await asyncio.sleep(0.05)
    assert caplog.messages == ["no room", "no room"]


async def test_at_the_end_what_was_counted_is_told(caplog: pytest.LogCaptureFixture) -> None:
    conditions = Conditions(log)
    for _ in range(3):
        conditions.log("full", logging.WARNING, "no room")
    conditions.over()
    conditions.over()
    assert caplog.messages == ["no room", "no room (2 more)"]


async def test_a_traceback_is_told_with_the_first(caplog: pytest.LogCaptureFixture) -> None:
    conditions = Conditions(log)
    for _ in range(3):
        conditions.log("failed", logging.WARNING, "failed", error=failed("o-1"))
    conditions.over()
    assert caplog.text.count("ValueError: o-1") == 1


async def test_few_conditions_are_remembered_and_none_is_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetmesh.common.throttled_log.CONDITIONS_MAX", 1)
    conditions = Conditions(log)
    for condition in ("a", "a", "b"):
        conditions.log(condition, logging.WARNING, condition)
    assert caplog.messages == ["a", "b", "a (1 more)"]


def test_a_kind_of_failure_is_its_type_and_line_and_of_an_outage_its_words() -> None:
    assert kind_of(failed("o-1")) == kind_of(failed("o-2"))
    assert kind_of(failed("o-1")) != kind_of(failed("key"))
    assert reason_of(failed("o-1")) == reason_of(failed("o-2"))
    assert reason_of(Unavailable("full")) != reason_of(Unavailable("away"))
