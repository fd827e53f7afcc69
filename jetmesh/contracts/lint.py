"""Rules for contracts: past tense, units last, no tuples, no free-form maps, a description for everything."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from jetmesh.contracts.schema import FACTS, UNIT, Contract, Contracts, Field, Schema, fields
from jetmesh.event import TYPE, EventType
from jetmesh.request_model import RequestType

IRREGULAR = frozenset(
    """arisen awoken become begun bent bet bitten blown bought bound bred broken brought built burnt burst cast caught
    chosen clung come cost crept cut dealt done drawn driven drunk dug dwelt eaten fallen fed felt fled flown
    forbidden foreseen forgiven forgotten fought found frozen given gone got gotten ground grown heard held
    hidden hit hung hurt kept knelt known laid leapt learnt led left lent let lit lost made meant met mistaken
    outdone overcome overdrawn overridden paid proven put quit read rebuilt redone resent reset resold retaken
    rewritten ridden risen run rung said sat seen sent set sewn shaken shed shone shot shown shrunk shut slept
    slid sold sought sown sped spent spilt split spoilt spoken spread sprung stolen stood struck stuck stung
    sung sunk swept sworn swum swung taken taught thought thrown told torn understood undertaken undone upheld
    upset withdrawn withheld woken won worn wound woven written""".split()  # noqa: SIM905
)
UNITS = frozenset(
    """nanoseconds microseconds milliseconds seconds minutes hours days minor bytes percent grams kilograms meters
    celsius""".split()  # noqa: SIM905
)

CATCH_ALL = frozenset({"other", "unknown"})


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A rule, where it is broken, and how to correct it."""

    rule: str
    event: str
    field: str
    fix: str

    def __str__(self) -> str:
        return f"{self.event}{f' {self.field}' if self.field else ''}: {self.rule}: {self.fix}"


def lint(contracts: Contracts) -> list[LintFinding]:
    """The broken rules, in the order of the contracts."""
    return [finding for contract in contracts.values() for finding in _findings(contract)]


def lint_classes(classes: Iterable[EventType | RequestType]) -> list[LintFinding]:
    """What the schemas do not show: fields that are written under another name than they are read."""
    return [LintFinding("no-alias", each.type, *found) for each in classes for found in _aliases(each, set())]


def _aliases(model: Any, seen: set[Any]) -> Iterator[tuple[str, str]]:
    seen.add(model)
    for name, field in getattr(model, "model_fields", {}).items():
        others = {field.alias, field.validation_alias, field.serialization_alias} - {None, name}
        if others:
            other = next(iter(sorted(map(str, others))))
            yield (
                name,
                f"an event is written by the names of its fields: name the field {other}, and leave the alias out",
            )
        for inside in _models(field.annotation):
            if inside not in seen:
                yield from ((f"{name}.{path}", fix) for path, fix in _aliases(inside, seen))


def _models(hint: Any) -> Iterator[Any]:
    """The models in a type, however deep."""
    if isinstance(hint, type) and hasattr(hint, "model_fields"):
        yield hint
    for inside in get_args(hint):
        yield from _models(inside)


def _findings(contract: Contract) -> Iterator[LintFinding]:
    for rule, fix in _request_rules(contract) if contract.part else _event_rules(contract):
        yield LintFinding(rule, contract.type, "", fix)
    for field in fields(contract.consumer):
        for rule, fix in _field_rules(field):
            yield LintFinding(rule, contract.type, field.path, fix)


def _event_rules(contract: Contract) -> Iterator[tuple[str, str]]:
    name, facts = contract.type, contract.consumer[FACTS]
    if not TYPE.fullmatch(name):
        yield "two-words", "a type is <entity>.<event>, in small letters, digits and underscores"
    if facts["state"] and facts.get("ending"):
        yield "level-goes-on", "a state event (state=True) is recorded many times: it ends no story"
    if not facts["state"] and not _past(name):
        yield "past-tense", "say what happened: orders.placed, not orders.place"
    if not contract.consumer.get("description"):
        yield "described", "say in the class's docstring what it means and when it is recorded"
    if not contract.consumer.get("examples"):
        yield "example", f"write one to examples/{name}/1.json"
    if facts["key"] not in contract.consumer.get("required", ()):
        yield "key-required", f"the key {facts['key']} is the subject's third token: every event must have it"
    if (name := facts.get("id")) and name not in contract.consumer.get("required", ()):
        yield "id-required", f"the id {name} is the subject's last token: every occurrence must have it"


def _request_rules(contract: Contract) -> Iterator[tuple[str, str]]:
    if not contract.consumer.get("description"):
        yield "described", f"say in the class's docstring what the {contract.part} means"


def _past(name: str) -> bool:
    word = re.sub(r"_v\d+$", "", name).rpartition(".")[2].rpartition("_")[2]
    return word.endswith("ed") or word in IRREGULAR


def _kind_rules(schema: Schema) -> Iterator[tuple[str, str]]:
    """Kinds that JSON lacks, or that not every language of the generated types can read."""
    if schema.get("format") in ("binary", "base64url", "base64"):
        yield "no-bytes", "JSON has no bytes: write a text that says how they are encoded (str, with a pattern)"
    kinds = [each for each in schema.get("anyOf", schema.get("oneOf", ())) if each.get("type") != "null"]
    if {"number", "string"} == {each.get("type") for each in kinds}:
        yield "no-decimal", "a Decimal is written as text and read as number or text: write whole minor units, or a str"
    elif len(kinds) > 1:
        yield "one-type", "Go has no unions: let a field have one type, or null; or write an event for each"


def _field_rules(field: Field) -> Iterator[tuple[str, str]]:
    schema, words = field.schema, field.path.rpartition(".")[2].removesuffix("[]").split("_")
    if not schema.get("description"):
        yield "described", "say what it means (Field(description=…))"
    if units := UNITS.intersection(words[:-1]):
        yield "unit-last", f"put {min(units)} at the end of the name"
    if schema.get("type") in ("integer", "number") and UNIT not in schema and words[-1] not in UNITS:
        yield "unit-said", "a number has a unit: at the end of its name or as x-unit"
    if words[-1] == "minor" and schema.get("type") != "integer":
        yield "whole-money", "an amount in minor units is a whole number"
    if "prefixItems" in schema:
        yield "no-tuple", "name what stands at each position: an object"
    if schema.get("type") == "object" and not schema.get("properties"):
        yield "no-map", "name its fields; what may be anything can't be relied upon"
    if CATCH_ALL.intersection(map(str, schema.get("enum", ()))):
        yield "enum-grows", "a list with a catch-all may grow: let readers take unknown values as it (x-values)"
    yield from _kind_rules(schema)
    if not {"type", "enum", "const", "anyOf", "oneOf", "allOf"} & schema.keys():
        yield "typed", "say of which type it is; what may be anything can't be relied upon"
