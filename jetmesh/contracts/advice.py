"""Checks a body before it is published: what is wrong with each field, and how to correct it."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.common import json_body, lenient
from jetmesh.contracts.schema import ALLOWED, Schema, contract, fields
from jetmesh.event import EventType
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX

TYPE_ERRORS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "an object",
    "dict_type": "an object",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """One field, what is wrong with it, and what to write instead. A `note` is not an error."""

    field: str
    wrong: str
    fix: str = ""
    note: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {self.wrong}{f'; {self.fix}' if self.fix else ''}"


def advise(event: EventType, data: bytes) -> list[Advice]:
    """The errors and notes about a body of this type, plain or a structured CloudEvent. Empty: it is valid."""
    if len(data) > MESSAGE_BYTES_MAX:
        return [Advice("body", f"{len(data)} bytes are too many", f"send at most {MESSAGE_BYTES_MAX}")]
    try:
        said = json_body.document(data)
    except json_body.Malformed as wrong:
        return [Advice("body", f"is not JSON ({wrong})", "write one JSON object")]
    if isinstance(said, dict) and "specversion" in said and "data" in said:
        return [*_envelope(event, said), *_body(event, said["data"])]
    return _body(event, said)


def _envelope(event: EventType, said: Mapping[str, Any]) -> Iterator[Advice]:
    if said["specversion"] != "1.0":
        yield Advice("specversion", f"{said['specversion']!r} is not supported", 'write "1.0"')
    if said.get("type") != event.type:
        yield Advice("type", f"{said.get('type')!r} is another type", f'write "{event.type}", or validate with --type')
    for name in ("id", "source"):
        if not said.get(name):
            yield Advice(name, "is missing", "CloudEvents 1.0 requires it")
    yield Advice("header", "Content-Type must say that this is a CloudEvent",
                 "publish with -H 'Content-Type: application/cloudevents+json'", note=True)  # fmt: skip


def _body(event: EventType, said: Any) -> list[Advice]:
    if not isinstance(said, dict):
        return [Advice("body", f"is {_named(said)}", "write one JSON object")]
    model: Any = event
    try:
        model.model_validate_json(json.dumps(said))
    except ValueError as invalid:
        errors: Sequence[Mapping[str, Any]] = invalid.errors(include_url=False)  # type: ignore[attr-defined]
        schema = contract(event).consumer
        return [_advice(error, event, schema, errors) for error in errors if not _follows(error, errors)]
    return []


def _follows(error: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the error only follows from an inner one: a list whose only item is refused seems too short."""
    inside = (other["loc"] for other in errors if len(other["loc"]) > len(error["loc"]))
    return error["type"] == "too_short" and any(loc[: len(error["loc"])] == error["loc"] for loc in inside)


def _advice(error: Mapping[str, Any], event: EventType, schema: Schema, errors: Sequence[Mapping[str, Any]]) -> Advice:
    path, kind, said = _path(error["loc"]), error["type"], error["msg"][:1].lower() + error["msg"][1:]
    if kind == "missing":
        return _missing(path, event, schema)
    if kind == "extra_forbidden":
        return Advice(path, "is no field of this event", _instead(error["loc"], schema, errors))
    if kind in TYPE_ERRORS:
        return Advice(path, f"is {_named(error['input'])}", f"write {_wanted(kind, error['input'])}")
    if kind == "literal_error":
        return Advice(path, f"{_shown(error['input'])} is not one of the values", f"write {error['ctx']['expected']}")
    if kind in ("too_short", "too_long"):
        least, most = error["ctx"].get("min_length"), error["ctx"].get("max_length")
        return Advice(
            path,
            f"has {error['ctx']['actual_length']} items",
            f"write at {f'least {least}' if least else f'most {most}'}",
        )
    if kind == "string_pattern_mismatch":
        return Advice(path, f"{_shown(error['input'])} is not allowed", _allowed(path, schema) or said)
    return Advice(path, said)


def _missing(path: str, event: EventType, schema: Schema) -> Advice:
    if path == event.key_field and event.from_outside:
        return Advice(path, "is missing", "the service that records the event makes one", note=True)
    return Advice(path, "is missing", _meaning(path, schema) or "write it")


def _meaning(path: str, schema: Schema) -> str:
    """What a field means."""
    return str(_field(path, schema).get("description", "")).rstrip(".")


def _allowed(path: str, schema: Schema) -> str:
    """The form of a text, in words if the contract has them."""
    allowed = _field(path, schema).get(ALLOWED)
    return f"write {allowed}" if allowed else ""


def _field(path: str, schema: Schema) -> Schema:
    plain = "".join("[]" if part.isdigit() else part for part in _parts(path))
    return next((field.schema for field in fields(schema) if field.path == plain), {})


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("[", "\0").replace("]", "\0").split("\0") if part]


def _instead(location: Sequence[str | int], schema: Schema, errors: Sequence[Mapping[str, Any]]) -> str:
    """The field with the most similar name, if there is one: missing fields first."""
    parent, name = _path(location[:-1]), str(location[-1])
    missing = [str(e["loc"][-1]) for e in errors if e["type"] == "missing" and _path(e["loc"][:-1]) == parent]
    plain = "".join("[]" if part.isdigit() else part for part in _parts(parent))
    prefix = f"{plain}." if plain else ""
    known = [f.path.removeprefix(prefix) for f in fields(schema) if f.path.startswith(prefix)]
    near = difflib.get_close_matches(name, missing, cutoff=0.5) or difflib.get_close_matches(name, known)
    return f"did you mean {near[0]}?" if near else "leave it out"


def _path(location: Sequence[str | int]) -> str:
    return (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".") or "body"
    )


def _named(value: Any) -> str:
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


def _wanted(kind: str, value: Any) -> str:
    wanted = TYPE_ERRORS[kind]
    if kind == "int_type" and isinstance(value, str) and (number := lenient.whole(value.strip(), -1)) >= 0:
        return f"{number}, without quotes"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'"{value}", in quotes'
    return wanted


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
