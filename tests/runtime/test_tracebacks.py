"""The log tells a failure's traceback once, and the same failure's again only after a while."""

import pytest

from jetmesh import tracebacks
from jetmesh.tracebacks import Tracebacks


def failed(name: str) -> Exception:
    try:
        if name == "key":
            raise KeyError(name)
        raise ValueError(name)
    except (KeyError, ValueError) as error:
        return error


def test_a_failure_is_told_once_whatever_it_is_about() -> None:
    told = Tracebacks()
    first = failed("o-1")
    assert [told.news(first), told.news(failed("o-2"))] == [first, None]


def test_another_failure_is_told_as_well() -> None:
    told = Tracebacks()
    told.news(failed("o-1"))
    assert told.news(failed("key")) is not None


def test_it_is_told_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Tracebacks()
    told.news(failed("o-1"))
    monkeypatch.setattr(tracebacks, "AGAIN_SECONDS", 0.0)
    assert told.news(failed("o-1")) is not None


def test_few_kinds_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "KINDS_MAX", 1)
    told = Tracebacks()
    for name in ("o-1", "key"):
        told.news(failed(name))
    assert told.news(failed("o-1")) is not None
