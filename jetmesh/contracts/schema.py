"""JSON Schema 2020-12 of an event in its two roles: closed for producers, open for consumers.

A producer must not send fields that the contract does not name; a consumer must ignore fields that it does not know.
So a field can be added and removed again without a break.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.event import CLIENT, EventType, id_field_of, is_ending, is_occurrence, publisher_of

Schema = Mapping[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FACTS = "x-event"
UNIT = "x-unit"
VALUES = "x-values"
"""The values that a text has so far: the list may grow, and readers must accept other values."""
ALLOWED = "x-allowed"
"""What a `pattern` allows, in words."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of one type of event: the schema of its producers and the schema of its consumers.

    A request and its response have one each too: who asks is the producer of one and the consumer of the other.
    """

    type: str
    producer: Schema
    consumer: Schema

    @property
    def owner(self) -> str:
        """The service that records it."""
        return str(self.consumer[FACTS]["owner"])

    @property
    def part(self) -> str:
        """`request` or `response`; empty for an event."""
        return str(self.consumer[FACTS].get("part", ""))

    @property
    def about(self) -> str:
        """The type of the event, or of the request that this is a part of."""
        return str(self.consumer[FACTS]["type"])

    @property
    def from_outside(self) -> bool:
        """Whether it may be published without a key in the subject."""
        return bool(self.consumer[FACTS]["from_outside"])

    @property
    def publisher(self) -> str:
        """The kind of broker user that may publish it; empty in older releases, which do not distinguish them."""
        return str(self.consumer[FACTS].get("publisher", CLIENT))

    def document(self) -> dict[str, Any]:
        """Both roles as one JSON object."""
        return {"producer": self.producer, "consumer": self.consumer}


Contracts = Mapping[str, Contract]
"""Contracts by type of event: one release."""


def contract(event: EventType, examples: Sequence[Any] = ()) -> Contract:
    """The contract of an event's class; the schemas have `examples` and facts that JSON Schema has no keyword for."""
    return contract_of(event.type, event, facts(event), examples)


def contract_of(name: str, model: Any, known: Schema, examples: Sequence[Any] = ()) -> Contract:
    """The contract of a pydantic model, with these facts."""
    producer = _described(f"{name}:producer", known, _plain(model, "serialization"), examples)
    consumer = _described(f"{name}:consumer", known, _opened(_plain(model, "validation")), examples)
    return Contract(name, producer, consumer)


def parse(documents: Mapping[str, Any]) -> Contracts:
    """The contracts in a bundle: `{type: {"producer": …, "consumer": …}, …}`.

    Raises:
        ValueError: it is not a bundle; the text names the type.
    """
    for name, document in documents.items():
        roles = [document.get(role) for role in ("producer", "consumer")] if isinstance(document, Mapping) else [None]
        if not all(isinstance(schema, Mapping) and isinstance(schema.get(FACTS), Mapping) for schema in roles):
            raise ValueError(f"{name}: a contract has a producer and a consumer schema, each with {FACTS}")
    return {name: Contract(name, each["producer"], each["consumer"]) for name, each in documents.items()}


def bundle(contracts: Contracts) -> dict[str, Any]:
    """All contracts as one JSON object, the inverse of `parse`."""
    return {name: contracts[name].document() for name in sorted(contracts)}


def text(document: Any) -> str:
    """JSON as it is committed: two spaces, one newline at the end."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a schema, by its path (`lines[].sku`)."""

    path: str
    schema: Schema
    required: bool


def fields(schema: Schema) -> Iterator[Field]:
    """Every field, parents first; a recursive schema is entered once."""
    return _fields(schema, schema, "", frozenset())


def _fields(node: Schema, root: Schema, path: str, entered: frozenset[str]) -> Iterator[Field]:
    name = str(node.get("$ref", ""))
    if name in entered:
        return
    entered |= {name} if name else set()
    node = resolved(node, root)
    for field, child in node.get("properties", {}).items():
        at = f"{path}.{field}" if path else field
        yield Field(at, resolved(child, root), field in node.get("required", ()))
        yield from _fields(child, root, at, entered)
    if isinstance(items := node.get("items"), Mapping):
        yield from _fields(items, root, f"{path}[]", entered)


def resolved(node: Schema, root: Schema) -> Schema:
    """The schema that a local `$ref` points at, with the keywords next to the `$ref` added.

    Raises:
        LookupError: the reference leaves the document or leads nowhere.
    """
    while isinstance(reference := node.get("$ref"), str):
        target: Any = root
        if not reference.startswith("#"):
            raise LookupError(f"$ref {reference}: only references inside the document are read")
        for part in reference[1:].split("/")[1:]:
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = {**target, **{name: value for name, value in node.items() if name != "$ref"}}
    return node


def mapped(node: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of a schema with every subschema changed, innermost first. (Names of fields are not keywords.)"""
    if isinstance(node, list):
        return [mapped(each, change) for each in node]
    if not isinstance(node, Mapping):
        return node
    copy: dict[str, Any] = {}
    for name, value in node.items():
        if name in ("properties", "$defs"):
            copy[name] = {field: mapped(child, change) for field, child in value.items()}
        else:
            copy[name] = value if name in ("default", "const", "enum", "examples") else mapped(value, change)
    return change(copy)


def _plain(model: Any, mode: str) -> dict[str, Any]:
    """pydantic's schema without the titles that it derives from the names of fields."""
    whole: dict[str, Any] = mapped(_inlined(model.model_json_schema(mode=mode)), _untitled)
    return whole


def _inlined(whole: dict[str, Any]) -> dict[str, Any]:
    """Without a definition of its own for what is no object, such as an enum: its field says it."""
    definitions = whole.get("$defs", {})
    values = {f"#/$defs/{name}": each for name, each in definitions.items() if "properties" not in each}

    def inline(node: dict[str, Any]) -> dict[str, Any]:
        value = values.get(str(node.get("$ref")))
        return node if value is None else {**value, **{name: said for name, said in node.items() if name != "$ref"}}

    found: dict[str, Any] = mapped(whole, inline) if values else whole
    if values:
        found["$defs"] = {name: each for name, each in found["$defs"].items() if f"#/$defs/{name}" not in values}
        if not found["$defs"]:
            del found["$defs"]
    return found


def _untitled(node: dict[str, Any]) -> dict[str, Any]:
    return node if "properties" in node else {name: value for name, value in node.items() if name != "title"}


def _opened(schema: dict[str, Any]) -> dict[str, Any]:
    opened: dict[str, Any] = mapped(schema, _open)
    return opened


def _open(node: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if (name, value) != ("additionalProperties", False)}


def _described(urn: str, known: Schema, schema: dict[str, Any], examples: Sequence[Any]) -> dict[str, Any]:
    definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    shown = {"examples": list(examples)} if examples else {}
    head = {"$schema": DIALECT, "$id": f"urn:jetmesh:{urn}", "title": schema.pop("title")}
    return {**head, "description": schema.pop("description", ""), FACTS: known, **schema, **shown, **definitions}


def facts(event: EventType) -> dict[str, Any]:
    """Facts that a reader needs besides the body: the service that records it, the stream, and the key's field."""
    return {
        "type": event.type,
        "owner": event.owner,
        "subject": f"{event.type}.{{{event.key_field}}}" + f".{{{id_field_of(event) or 'id'}}}" * is_occurrence(event),
        "key": event.key_field,
        "from_outside": event.from_outside,
        "state": event.state,
        **({"publisher": publisher_of(event)} if event.from_outside else {}),
        **({"ending": True} if is_ending(event) else {}),
        **({"occurrence": True, "id": id_field_of(event)} if is_occurrence(event) else {}),
        **({"validators": names} if (names := validators_of(event)) else {}),
    }


def validators_of(model: Any) -> list[str]:
    """The validators of a class: what they refuse, no schema says."""
    found = getattr(model, "__pydantic_decorators__", None)
    kinds = ("field_validators", "model_validators", "root_validators", "validators") if found else ()
    return sorted(name for kind in kinds for name in getattr(found, kind))
