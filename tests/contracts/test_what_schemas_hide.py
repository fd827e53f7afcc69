"""What a schema does not show is linted or compared all the same: kinds of fields, aliases, defaults, validators."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from jetmesh import EventModel, Service, Token
from jetmesh.contracts import compatibility, golang, lint, typescript
from jetmesh.contracts.patterns import is_same
from jetmesh.contracts.schema import Contracts, contract


class ThingEvent(EventModel, owner="things", key_field="thing_id"):
    """An event about a thing."""

    thing_id: Token = Field(description="The thing.")


class Colour(StrEnum):
    RED, BLUE = "red", "blue"


class Round(BaseModel):
    kind: Literal["round"] = "round"


class Square(BaseModel):
    kind: Literal["square"] = "square"


def made(kind: Any, **facts: Any) -> type[ThingEvent]:
    """An event with one field of this type."""
    fields = {"__annotations__": {"field": kind}, "field": Field(description="A field.", **facts)}
    return type("Made", (ThingEvent,), {**fields, "__doc__": "Made.", "__module__": __name__}, type="things.made")


def contracts(*events: type[ThingEvent]) -> Contracts:
    return {event.type: contract(event) for event in events}


REFUSED = {
    "bytes": (bytes, {}, "no-bytes"),
    "a Decimal": (Decimal, {}, "no-decimal"),
    "a union": (int | str, {}, "one-type"),
    "a union of classes": (Round | Square, {}, "one-type"),
    "an alias": (str, {"alias": "Field"}, "no-alias"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_not_every_language_can_read_is_refused_with_the_reason(kind: str) -> None:
    hint, facts, rule = REFUSED[kind]
    event = made(hint, **facts)
    found = [*lint.lint(contracts(event)), *lint.lint_classes([event])]
    assert rule in {finding.rule for finding in found if finding.field.lower() == "field"}


def test_an_enum_and_a_field_that_may_be_null_are_read_in_both_languages() -> None:
    for event, go, script in (
        (made(Colour), "Field string", 'field: "red" | "blue";'),
        (made(str | None), "Field *string", "field: string | null;"),
    ):
        known = contracts(event)
        assert [f for f in lint.lint(known) if f.field == "field"] == []
        assert go in golang.package("things", known)
        assert script in typescript.module(known)
        assert event.read(b'{"thing_id": "t-1", "field": "red"}').thing_id == "t-1"


def rules(old: type[ThingEvent], new: type[ThingEvent]) -> set[str]:
    return {change.rule for change in compatibility.compare(contracts(old), contracts(new))}


def validated() -> type[ThingEvent]:
    class Made(ThingEvent, type="things.made"):
        """Made."""

        field: str = Field(description="A field.")

        @field_validator("field")
        @classmethod
        def _is_short(cls, value: str) -> str:
            return value

    return Made


CHANGES: dict[str, tuple[Callable[[], type[ThingEvent]], Callable[[], type[ThingEvent]], set[str]]] = {
    "another default": (lambda: made(int, default=1), lambda: made(int, default=2), {"default-changed"}),
    "an alias": (lambda: made(str), lambda: made(str, alias="other"), {"field-renamed"}),
    "a validator": (lambda: made(str), validated, {"validator-added"}),
    "the same pattern": (
        lambda: made(str, pattern="^[0-9a-f]{1,}$"), lambda: made(str, pattern="^(?:[a-f0-9])+$"), set(),
    ),
    "another pattern": (
        lambda: made(str, pattern="^[0-9]+$"), lambda: made(str, pattern="^[0-8]+$"), {"pattern-changed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_the_check_sees_the_change(change: str) -> None:
    old, new, expected = CHANGES[change]
    assert rules(old(), new()) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a|b", "b|a", True),
        ("[a-cd-f]", "[a-f]", True),
        ("(a)(b)", "ab", True),
        ("a{1}", "a", True),
        ("a*", "a+", False),
        ("[^a]", "[a]", False),
        ("(?i:a)", "a", False),
        ("(", "(", True),
        ("(", "[", False),
    ],
)
def test_a_pattern_is_compared_by_what_it_means(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) is same


def test_an_example_that_was_published_stays() -> None:
    old = {"things.made": contract(made(int), [{"thing_id": "t-1", "field": 1}])}
    found = compatibility.removed_examples(old, lambda _: [{"thing_id": "t-1", "field": 2}])
    assert [change.rule for change in found] == ["example-removed"]
    assert list(compatibility.removed_examples(old, lambda _: [{"thing_id": "t-1", "field": 1}])) == []


def test_a_contract_that_nobody_records_is_named() -> None:
    event, service = made(int), Service("things")
    found = compatibility.unrecorded(contracts(event), [service])
    assert [(change.event, change.rule) for change in found] == [("things.made", "not-recorded")]
    assert list(compatibility.unrecorded(contracts(event), [Service("others")])) == []
