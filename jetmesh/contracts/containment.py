"""Finds what one JSON schema allows a writer to write and another schema does not allow a reader to read.

Sound, not complete: if it finds nothing, the reader's schema allows every instance that the writer's schema allows.
An unknown keyword counts as a refusal unless both schemas are the same.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jetmesh.contracts.patterns import is_same
from jetmesh.contracts.schema import UNIT, Schema, resolved

What = Literal["missing", "unknown", "type", "enum", "range", "length", "pattern", "format", "unit", "array", "keyword"]

ANYTHING: Schema = {}
NOTHING: Schema = {"not": {}}

_TYPES = ("null", "boolean", "object", "array", "number", "string")
_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}
_UNDERSTOOD = frozenset(
    [
        "type",
        "enum",
        "const",
        "allOf",
        "anyOf",
        "oneOf",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "uniqueItems",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "pattern",
        "format",
        "$ref",
    ]
)
_SAYS_NOTHING = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "discriminator",
        "$schema",
        "$id",
        "$defs",
        "$comment",
        "definitions",
    ]
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that a writer may write and a reader refuses, and its path (`lines[].quantity`)."""

    what: What
    path: str
    detail: str


def refusals(writer: Schema, reader: Schema) -> list[Refusal]:
    """Everything that the writer may write and the reader refuses; empty: the reader accepts all.

    Raises:
        LookupError: a `$ref` leaves its document.
    """
    return list(dict.fromkeys(_Comparison(writer, reader).compare(writer, reader, "")))


def assertions(schema: Schema) -> dict[str, Any]:
    """The keywords that allow or refuse something: all but the annotations."""
    return {name: value for name, value in schema.items() if name not in _SAYS_NOTHING and not name.startswith("x-")}


class _Comparison:
    """One comparison of two documents; it tracks the pairs under comparison, so that recursive schemas end."""

    def __init__(self, writer: Schema, reader: Schema) -> None:
        self.writer, self.reader = writer, reader
        self.inside: set[str] = set()

    def compare(self, writer: Any, reader: Any, path: str) -> list[Refusal]:
        pair = json.dumps((writer, reader), sort_keys=True)
        if pair in self.inside:
            return []
        self.inside.add(pair)
        try:
            target = self._target(reader, self.reader)
            return [refusal for atom in self._atoms(writer) for refusal in self._atom(atom, target, path)]
        finally:
            self.inside.discard(pair)

    @staticmethod
    def _target(node: Any, root: Schema) -> Schema:
        """The schema that a boolean means, or a reference with the keywords next to it (both apply)."""
        if isinstance(node, bool):
            return ANYTHING if node else NOTHING
        if "$ref" not in node:
            return dict(node)
        beside = {name: value for name, value in node.items() if name != "$ref"}
        target = resolved({"$ref": node["$ref"]}, root)
        if not assertions(beside):
            return {**target, **beside}
        return {"allOf": [target, *beside.pop("allOf", ())], **beside}

    # The writer's side: alternatives are split until each is of one type, or one value. If two keywords that both apply
    # can't be joined, one is ignored: the writer then seems to write more than it does, never less.

    def _atoms(self, writer: Any) -> Iterator[dict[str, Any]]:
        node = dict(self._target(writer, self.writer))
        if node.get("not") in ({}, True):
            return
        for conjunct in node.pop("allOf", ()):
            node = _joined(self._target(conjunct, self.writer), node)
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                for branch in node.pop(keyword):
                    yield from self._atoms(_joined(node, dict(self._target(branch, self.writer))))
                return
        if "const" in node:
            node["enum"] = [node["const"]]
        for kind in _types(node):
            yield from _values(node, kind) if "enum" in node else _of_type(node, kind)

    # The reader's side: each of its keywords must allow what the writer writes.

    def _atom(self, writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
        if not assertions(reader) and not reader.get(UNIT):
            return
        if assertions(reader).keys() - _UNDERSTOOD or isinstance(reader.get("items"), list):
            if assertions(writer) != assertions(reader) or "$ref" in json.dumps(reader):
                yield Refusal("keyword", path, f"{_strange(reader)} can't be compared")
            return
        for conjunct in reader.get("allOf", ()):
            yield from self._again(writer, conjunct, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in reader:
                yield from self._alternatives(writer, reader[keyword], path, exclusive=keyword == "oneOf")
        yield from self._plain(writer, reader, path)

    def _again(self, writer: Schema, reader: Any, path: str) -> list[Refusal]:
        return list(self._atom(writer, self._target(reader, self.reader), path))

    def _alternatives(
        self, writer: Schema, branches: Sequence[Any], path: str, *, exclusive: bool
    ) -> Iterator[Refusal]:
        """One branch must accept it; of an exclusive choice, no other branch may."""
        found = [self._again(writer, branch, path) for branch in branches]
        if all(found):
            yield from min(found, key=_distance)
        elif exclusive and len(branches) > 1 and not self._disjoint(branches):
            yield Refusal("keyword", path, "oneOf whose alternatives may overlap can't be compared")

    def _disjoint(self, branches: Sequence[Any]) -> bool:
        """Whether no value fits two branches: their types differ, or the values of a required field (discriminator)."""
        targets = [self._target(branch, self.reader) for branch in branches]
        kinds = [set(_types(target)) for target in targets]
        if sum(map(len, kinds)) == len(set().union(*kinds)) and not {"integer", "number"} <= set().union(*kinds):
            return True
        if any(set(_types(target)) != {"object"} for target in targets):
            return False
        shared = set.intersection(
            *({*target.get("required", ())} & {*target.get("properties", {})} for target in targets)
        )
        return any(_distinct([target["properties"][name] for target in targets]) for name in shared)

    def _plain(self, writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
        kind, kinds = writer["type"], _types(reader)
        if not _within(writer, kinds):
            yield Refusal("type", path, f"{kind} where {' or '.join(kinds)} is read")
            return
        yield from _unit(writer, reader, path)
        if (values := _listed(reader)) is not None:
            if "const" not in writer:
                yield Refusal("enum", path, f"any {kind} where a list of values is read")
            elif not any(_same(writer["const"], value) for value in values):
                yield Refusal("enum", path, json.dumps(writer["const"], ensure_ascii=False))
        if kind in ("integer", "number"):
            yield from _numbers(writer, reader, path)
        elif kind in _LENGTHS:
            yield from _lengths(writer, reader, path)
        if kind == "string":
            yield from _strings(writer, reader, path)
        elif kind == "array":
            yield from self._arrays(writer, reader, path)
        elif kind == "object":
            yield from self._objects(writer, reader, path)

    def _arrays(self, writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
        if reader.get("uniqueItems") and not writer.get("uniqueItems") and writer.get("maxItems", 2) > 1:
            yield Refusal("array", path, "items may be repeated where each is read once")
        positions = max(len(side.get("prefixItems", ())) for side in (writer, reader))
        for position in range(positions + 1):
            if position < writer.get("maxItems", math.inf):
                at = f"{path}[{position}]" if position < positions else f"{path}[]"
                yield from self.compare(_item(writer, position), _item(reader, position), at)

    def _objects(self, writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
        written, read = writer.get("properties", {}), reader.get("properties", {})
        others = ANYTHING if "patternProperties" in writer else writer.get("additionalProperties", ANYTHING)
        strangers = reader.get("additionalProperties", ANYTHING)
        for name in reader.get("required", ()):
            if name not in writer.get("required", ()):
                why = "is not always written" if name in written else "is not written"
                yield Refusal("missing", _under(path, name), f"{why}, and must be there to be read")
        for name in dict.fromkeys((*written, *read)):
            if name not in read and strangers is False and written[name] is not False:
                yield Refusal("unknown", _under(path, name), "is written, and readers that do not know it refuse it")
            else:
                yield from self.compare(written.get(name, others), read.get(name, strangers), _under(path, name))
        if others is not False:
            yield from self.compare(others, strangers, _under(path, "*"))


def _types(node: Schema) -> tuple[str, ...]:
    kind = node.get("type", _TYPES)
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _of_type(node: Schema, kind: str) -> Iterator[dict[str, Any]]:
    yield {**node, "type": kind}


def _values(node: Schema, kind: str) -> Iterator[dict[str, Any]]:
    """Each listed value of this type, as a schema that allows only it."""
    beside = {name: value for name, value in node.items() if name not in ("enum", "const")}
    for value in node["enum"]:
        if _belongs(value, kind):
            yield {**beside, **_only(value)}


def _only(value: Any) -> dict[str, Any]:
    kind = _kind(value)
    only: dict[str, Any] = {"type": kind, "const": value}
    if kind in ("integer", "number"):
        only |= {"minimum": value, "maximum": value}
    elif kind == "object":
        only |= {"properties": {k: {"const": v} for k, v in value.items()}, "required": [*value]}
        only["additionalProperties"] = False
    elif kind == "array":
        only |= {"prefixItems": [{"const": each} for each in value], "items": False}
    if kind in _LENGTHS:
        only |= {f"min{_LENGTHS[kind]}": len(value), f"max{_LENGTHS[kind]}": len(value)}
    return only


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _belongs(value: Any, kind: str) -> bool:
    whole = isinstance(value, float) and value.is_integer()
    return _kind(value) == kind or (kind == "number" and _kind(value) == "integer") or (kind == "integer" and whole)


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: 1 is 1.0, and true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) or (
        {_kind(one), _kind(other)} == {"integer", "number"} and bool(one == other)
    )


def _listed(node: Schema) -> Sequence[Any] | None:
    if "const" in node:
        return [node["const"]]
    values: Sequence[Any] | None = node.get("enum")
    return values


def _joined(one: Schema, other: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas joined; where one keyword has different values, that of `other`."""
    if any(one[name] != other[name] for name in assertions(one).keys() & assertions(other).keys()):
        return dict(other)
    return {**one, **other}


def _within(writer: Schema, kinds: Sequence[str]) -> bool:
    kind = writer["type"]
    whole = kind == "integer" or (isinstance(writer.get("const"), float) and writer["const"].is_integer())
    return kind in kinds or (kind == "integer" and "number" in kinds) or (whole and "integer" in kinds)


def _distinct(nodes: Sequence[Any]) -> bool:
    listed = [_listed(node) if isinstance(node, Mapping) else None for node in nodes]
    values = [json.dumps(value, sort_keys=True) for each in listed for value in each or ()]
    return None not in listed and len(values) == len(set(values))


def _distance(found: Sequence[Refusal]) -> tuple[bool, int]:
    return any(refusal.what == "type" for refusal in found), len(found)


def _strange(node: Schema) -> str:
    return ", ".join(sorted(assertions(node).keys() - _UNDERSTOOD)) or "a list of items"


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _item(node: Schema, position: int) -> Any:
    prefix = node.get("prefixItems", ())
    return prefix[position] if position < len(prefix) else node.get("items", ANYTHING)


def _unit(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    written, read = writer.get(UNIT), reader.get(UNIT)
    if written and read and written != read:
        yield Refusal("unit", path, f"{written} where {read} is read")


def _lengths(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    name = _LENGTHS[writer["type"]]
    low, high = f"min{name}", f"max{name}"
    if reader.get(low, 0) > writer.get(low, 0):
        yield Refusal("length", path, f"{low} {writer.get(low, 0)} where at least {reader[low]} is read")
    if reader.get(high, math.inf) < writer.get(high, math.inf):
        yield Refusal("length", path, f"{high} {writer.get(high, 'unlimited')} where at most {reader[high]} is read")


def _strings(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    pattern = reader.get("pattern")
    if (
        pattern is not None
        and not is_same(pattern, writer.get("pattern"))
        and not _matches(pattern, writer.get("const"))
    ):
        yield Refusal("pattern", path, f"{writer.get('pattern', 'any text')} where {pattern} is read")
    if reader.get("format") not in (None, writer.get("format")):
        yield Refusal("format", path, f"{writer.get('format', 'any text')} where {reader['format']} is read")


def _matches(pattern: str, value: str | None) -> bool:
    try:
        return value is not None and re.search(pattern, value) is not None
    except re.error:
        return False


def _numbers(writer: Schema, reader: Schema, path: str) -> Iterator[Refusal]:
    whole = writer["type"] == "integer"
    for sign, side in ((1, "minimum"), (-1, "maximum")):
        written, read = _bound(writer, side, sign, whole), _bound(reader, side, sign, whole)
        if read > written:
            yield Refusal("range", path, f"{side} {_number(written, sign)} where {_number(read, sign)} is read")
    step = reader.get("multipleOf")
    if step is not None and not _steps(writer, step):
        yield Refusal("range", path, f"other numbers than multiples of {step}, which alone are read")


def _bound(node: Schema, side: str, sign: int, whole: bool) -> tuple[float, bool]:
    """A lower bound as (value, exclusive); an upper one likewise with its sign turned, so that larger is tighter."""
    exclusive = f"exclusive{side.capitalize()}"
    bounds = [(sign * node[name], name == exclusive) for name in (side, exclusive) if name in node]
    if not whole:
        return max(bounds, default=(-math.inf, False))
    return max(
        ((math.floor(at) + 1 if open_ else math.ceil(at), False) for at, open_ in bounds), default=(-math.inf, False)
    )


def _number(bound: tuple[float, bool], sign: int) -> str:
    value, exclusive = bound
    return "none" if math.isinf(value) else f"{'beyond ' if exclusive else ''}{sign * value}"


def _steps(writer: Schema, step: float) -> bool:
    if writer.get("multipleOf") == step or (step == 1 and writer["type"] == "integer"):
        return True
    known = writer.get("const", writer.get("multipleOf"))
    return isinstance(known, int) and isinstance(step, int) and known % step == 0
