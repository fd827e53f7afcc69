"""Which changes of contracts break a consumer or a producer, by rule and field.

Forward: old consumers must be able to read what new producers write. Backward: new consumers must be able to read what
old producers wrote.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from jetmesh.contracts.containment import Refusal, assertions, refusals
from jetmesh.contracts.request_contract import REQUEST, RESPONSE
from jetmesh.contracts.schema import FACTS, Contract, Contracts, fields
from jetmesh.service import Service


class Side(Enum):
    """Who breaks: old consumers because of new producers, or old producers because of new consumers."""

    CONSUMER = "consumer"
    PRODUCER = "producer"


class Mode(Enum):
    """Which directions are checked, against the last release or, transitively, against all."""

    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
    BACKWARD_TRANSITIVE = "backward-transitive"
    FORWARD_TRANSITIVE = "forward-transitive"
    FULL_TRANSITIVE = "full-transitive"

    @property
    def sides(self) -> frozenset[Side]:
        """The sides that are checked."""
        name = self.value.removesuffix("-transitive")
        one = {"backward": Side.PRODUCER, "forward": Side.CONSUMER}.get(name)
        return frozenset(Side) if one is None else frozenset({one})

    @property
    def transitive(self) -> bool:
        """Whether it checks against every release, and not only the last."""
        return self.value.endswith("-transitive")


@dataclass(frozen=True, slots=True)
class Break:
    """One breaking change. `only_if_read`: no consumer fails, but one that reads the field no longer gets it."""

    event: str
    rule: str
    field: str
    side: Side
    detail: str
    only_if_read: bool = False


RULES = {
    # refusal: rule if new consumers refuse old producers, rule if old consumers refuse new producers
    "missing": ("field-required", "field-removed"),
    "unknown": ("field-refused", "field-added"),
    "type": ("type-narrowed", "type-widened"),
    "enum": ("enum-value-removed", "enum-value-added"),
    "range": ("range-tightened", "range-widened"),
    "length": ("length-tightened", "length-widened"),
    "pattern": ("pattern-changed", "pattern-changed"),
    "format": ("format-changed", "format-changed"),
    "unit": ("unit-changed", "unit-changed"),
    "array": ("array-tightened", "array-widened"),
    "keyword": ("not-comparable", "not-comparable"),
}

FACT_RULES = {
    "subject": "subject-changed",
    "key": "key-changed",
    "owner": "owner-changed",
    "state": "state-changed",
    "occurrence": "occurrence-changed",
    "id": "id-changed",
}

EVENT_REMOVED, REQUEST_REMOVED = REMOVED = ("event-removed", "request-removed")


def check(new: Contracts, releases: Sequence[Contracts], mode: Mode = Mode.FULL_TRANSITIVE) -> list[Break]:
    """The breaking changes from the releases (oldest first) to the contracts `new` under a mode, each once."""
    counted = releases if mode.transitive else releases[-1:]
    found = (each for release in counted for each in compare(release, new) if each.side in mode.sides)
    return list(dict.fromkeys(found))


def compare(old: Contracts, new: Contracts) -> Iterator[Break]:
    """The breaking changes from one release to `new`. A new type of event, or a new request, breaks none."""
    for name, contract in old.items():
        if name in new:
            yield from _changes(contract, new[name])
        elif contract.part:
            side = Side.PRODUCER if contract.part == REQUEST else Side.CONSUMER
            yield Break(name, REQUEST_REMOVED, "", side, "is not answered any more")
        else:
            yield Break(name, EVENT_REMOVED, "", Side.CONSUMER, "is not recorded any more")


def _changes(old: Contract, new: Contract) -> Iterator[Break]:
    forward = [_break(new.type, Side.CONSUMER, each) for each in refusals(new.producer, old.consumer)]
    backward = [_break(new.type, Side.PRODUCER, each) for each in refusals(old.producer, new.consumer)]
    yield from _facts(old, new)
    yield from _defaults(old, new)
    yield from _validators(old, new)
    yield from _renamed(old, new, [*forward, *backward, *_unwritten(old, new, forward)])


def removed_examples(old: Contracts, published: Callable[[str], Sequence[Any]]) -> Iterator[Break]:
    """Examples of an earlier release that are not among those of its type any more: they prove that old bodies can be
    read."""
    for name, contract in old.items():
        kept = published(name)
        for example in contract.consumer.get("examples", ()):
            if kept and example not in kept:
                detail = "an example that was published is gone: give the next one a number of its own"
                yield Break(name, "example-removed", "", Side.CONSUMER, detail)


def unrecorded(new: Contracts, services: Sequence[Service]) -> Iterator[Break]:
    """Contracts of owners that are known, which record no such event or answer no such request: nobody writes them any
    more."""
    owners = {service.name for service in services}
    written = {event.type for service in services for event in service.records}
    answered = {endpoint.request.type for service in services for endpoint in service.endpoints}
    for name, contract in new.items():
        if contract.owner not in owners or contract.from_outside:
            continue
        if contract.part == RESPONSE and contract.about not in answered:
            yield Break(name, "not-answered", "", Side.CONSUMER, f"{contract.owner} has no endpoint for it any more")
        elif not contract.part and name not in written:
            yield Break(name, "not-recorded", "", Side.CONSUMER, f"{contract.owner} does not record it any more")


def _defaults(old: Contract, new: Contract) -> Iterator[Break]:
    """Fields that an old body lacks and that are read as something else now."""
    before = {field.path: field.schema for field in fields(old.consumer)}
    for field in fields(new.consumer):
        known = before.get(field.path, {})
        if "default" in known and "default" in field.schema and known["default"] != field.schema["default"]:
            detail = (
                f"{known['default']!r} is now {field.schema['default']!r}: what an old body lacks changes its meaning"
            )
            yield Break(new.type, "default-changed", field.path, Side.PRODUCER, detail)


def _validators(old: Contract, new: Contract) -> Iterator[Break]:
    known = old.consumer.get(FACTS, {}).get("validators", ())
    for name in new.consumer.get(FACTS, {}).get("validators", ()):
        if name not in known:
            detail = f"the validator {name} may refuse what was valid, and no schema says it; write it as a constraint"
            yield Break(new.type, "validator-added", "", Side.PRODUCER, detail)


def _break(event: str, side: Side, refusal: Refusal) -> Break:
    backward, forward = RULES[refusal.what]
    rule = forward if side is Side.CONSUMER else backward
    if refusal.what == "missing" and side is Side.CONSUMER and "not always" in refusal.detail:
        rule = "field-optional"
    return Break(event, rule, refusal.path, side, refusal.detail)


def _facts(old: Contract, new: Contract) -> Iterator[Break]:
    before, after = old.consumer.get(FACTS, {}), new.consumer.get(FACTS, {})
    for fact, rule in FACT_RULES.items():
        if before.get(fact) != after.get(fact):
            yield Break(new.type, rule, "", Side.CONSUMER, f"{before.get(fact)} is now {after.get(fact)}")
    if before.get("from_outside") and not after.get("from_outside"):
        yield Break(new.type, "intake-closed", "", Side.PRODUCER, "is not taken from outside any more")


def _unwritten(old: Contract, new: Contract, found: Iterable[Break]) -> Iterator[Break]:
    """Fields that readers can do without and that are not written any more."""
    known = {each.field for each in found}
    written = {field.path for field in fields(new.producer)}
    for field in fields(old.consumer):
        parent = field.path.rpartition(".")[0].removesuffix("[]")
        if field.path not in written | known and (not parent or parent in written):
            detail = "is not written any more"
            yield Break(new.type, "field-removed", field.path, Side.CONSUMER, detail, only_if_read=True)


def _renamed(old: Contract, new: Contract, found: Sequence[Break]) -> Iterator[Break]:
    """A field that was removed and one of the same kind that was added are one change, which breaks both sides."""
    names = _renames(old, new)
    came = {after: before for before, after in names.items()}
    for each in found:
        if each.rule == "field-removed" and each.field in names:
            yield replace(each, rule="field-renamed", detail=f"is now {names[each.field]}")
        elif each.rule == "field-required" and each.field in came:
            yield replace(each, rule="field-renamed", field=came[each.field], detail=f"is now {each.field}")
        else:
            yield each


def _renames(old: Contract, new: Contract) -> dict[str, str]:
    before = {field.path: assertions(field.schema) for field in fields(old.consumer)}
    after = {field.path: assertions(field.schema) for field in fields(new.consumer)}
    came = [path for path in after if path not in before]
    names: dict[str, str] = {}
    for gone in (path for path in before if path not in after):
        alike = (path for path in came if after[path] == before[gone] and _beside(path, gone))
        if (name := next((path for path in alike if path not in names.values()), None)) is not None:
            names[gone] = name
    return names


def _beside(one: str, other: str) -> bool:
    return one.rpartition(".")[0] == other.rpartition(".")[0]
