"""What a change breaks is named: by rule, field and side. What breaks nobody is not mentioned."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

import jetmesh_contracts
from jetmesh.contracts.compatibility import Break, Mode, check
from jetmesh.contracts.readers import Reader, Readers, counted
from jetmesh.contracts.schema import Contract, Contracts, contract, mapped
from jetmesh_contracts import Event, OrderPlaced, Token
from jetmesh_contracts.orders import Part
from jetmesh_shop.flow import SERVICES


class Item(Part):
    sku: Token
    quantity: Annotated[int, Field(ge=1, le=10)]
    weight: Annotated[int, Field(json_schema_extra={"x-unit": "grams"})] = 0


class Packed(Event, type="parcels.packed", owner="parcels", key_field="parcel_id"):
    """A parcel was packed."""

    parcel_id: Token
    items: tuple[Item, ...] = Field(min_length=1, max_length=5)
    carrier: Literal["post", "courier"]
    packed_at: str = Field(json_schema_extra={"format": "date-time"})
    note: str | None = Field(default=None, max_length=100)


OLD = contract(Packed)

Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> list[Break]:
    """What it breaks when both roles of the contract change alike."""
    return check({OLD.type: _changed(change)}, [{OLD.type: OLD}])


def _changed(change: Change) -> Contract:
    roles = [mapped(schema, lambda node: node) for schema in (OLD.producer, OLD.consumer)]
    for role in roles:
        change(role)
    return Contract(OLD.type, *roles)


def remove(name: str) -> Change:
    def change(schema: dict[str, Any]) -> None:
        del schema["properties"][name]
        schema["required"] = [each for each in schema["required"] if each != name]

    return change


def put(name: str, value: Any, *, required: bool) -> Change:
    def change(schema: dict[str, Any]) -> None:
        schema["properties"][name] = value
        schema["required"] = [*schema["required"], *([name] if required else [])]

    return change


def rename(name: str, to: str) -> Change:
    def change(schema: dict[str, Any]) -> None:
        put(to, schema["properties"][name], required=name in schema["required"])(schema)
        remove(name)(schema)

    return change


def in_field(name: str, **keywords: Any) -> Change:
    return lambda schema: schema["properties"][name].update(keywords)


def in_item(name: str, **keywords: Any) -> Change:
    return lambda schema: schema["$defs"]["Item"]["properties"][name].update(keywords)


def fact(name: str, value: Any) -> Change:
    return lambda schema: schema["x-event"].update({name: value})


BREAKING = [
    (remove("carrier"), "field-removed", "carrier", "consumer"),
    (put("seal", {"type": "string"}, required=True), "field-required", "seal", "producer"),
    (rename("carrier", "courier"), "field-renamed", "carrier", "consumer"),
    (rename("carrier", "courier"), "field-renamed", "carrier", "producer"),
    (in_field("parcel_id", type="integer"), "type-narrowed", "parcel_id", "producer"),
    (in_field("parcel_id", type="integer"), "type-widened", "parcel_id", "consumer"),
    (in_field("note", anyOf=[{"type": "string", "maxLength": 100}]), "type-narrowed", "note", "producer"),
    (in_field("carrier", enum=["post"]), "enum-value-removed", "carrier", "producer"),
    (in_field("carrier", enum=["post", "courier", "drone"]), "enum-value-added", "carrier", "consumer"),
    (in_item("weight", **{"x-unit": "ounces"}), "unit-changed", "items[].weight", "consumer"),
    (in_item("weight", **{"x-unit": "ounces"}), "unit-changed", "items[].weight", "producer"),
    (in_field("packed_at", format="date"), "format-changed", "packed_at", "producer"),
    (in_field("parcel_id", pattern="^p-[0-9]+$"), "pattern-changed", "parcel_id", "producer"),
    (in_item("quantity", maximum=5), "range-tightened", "items[].quantity", "producer"),
    (in_item("quantity", minimum=2), "range-tightened", "items[].quantity", "producer"),
    (in_item("quantity", maximum=50), "range-widened", "items[].quantity", "consumer"),
    (in_field("items", maxItems=2), "length-tightened", "items", "producer"),
    (in_field("items", minItems=0), "length-widened", "items", "consumer"),
    (in_field("items", uniqueItems=True), "array-tightened", "items", "producer"),
    (fact("subject", "parcels.packed.{box}.{parcel_id}"), "subject-changed", "", "consumer"),
    (fact("key", "box_id"), "key-changed", "", "consumer"),
    (fact("owner", "warehouse"), "owner-changed", "", "consumer"),
    (fact("state", True), "state-changed", "", "consumer"),
    (fact("occurrence", True), "occurrence-changed", "", "consumer"),
    (fact("id", "scan_id"), "id-changed", "", "consumer"),
]


@pytest.mark.parametrize(
    ("change", "rule", "field", "side"),
    BREAKING,
    ids=[f"{number}-{rule}-{side}" for number, (_, rule, _, side) in enumerate(BREAKING)],
)
def test_a_breaking_change_is_named(change: Change, rule: str, field: str, side: str) -> None:
    found = {(each.rule, each.field, each.side.value) for each in changed(change)}
    assert (rule, field, side) in found


HARMLESS: dict[str, Change] = {
    "a new field with a default": put("seal", {"type": "string", "default": ""}, required=False),
    "other words": in_field(
        "carrier", description="Who carries it.", title="Carrier", examples=["post"], deprecated=True
    ),
    "the same range said otherwise": in_item("quantity", exclusiveMinimum=0),
    "another example": lambda schema: schema.update(description="Said better.", examples=[{}]),
    "another order of fields": lambda schema: schema["required"].sort(),
    "another order of values": lambda schema: schema["properties"]["carrier"]["enum"].reverse(),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_not_mentioned(name: str) -> None:
    assert changed(HARMLESS[name]) == []


def test_a_field_with_a_default_comes_and_goes_without_a_break() -> None:
    class Sealed(Packed, type="parcels.packed"):
        """A parcel was packed."""

        seal: str = ""

    grown = {OLD.type: contract(Sealed)}
    assert check(grown, [{OLD.type: OLD}]) == []
    gone = check({OLD.type: OLD}, [grown])
    assert [(each.rule, each.field, each.only_if_read) for each in gone] == [("field-removed", "seal", True)]
    assert counted(gone, Readers((), ()), grown) == []
    reader = Reader(team="customs", contact="customs@example.com", events={OLD.type: ("seal",)})
    assert [whom for _, whom in counted(gone, Readers((), (reader,)), grown)] == [["customs (customs@example.com)"]]


def test_an_event_that_is_gone_is_named_and_a_new_one_is_not() -> None:
    new = {"parcels.lost": Contract("parcels.lost", {}, {})}
    assert [(each.rule, each.event) for each in check(new, [{OLD.type: OLD}])] == [("event-removed", OLD.type)]


def test_a_mode_counts_its_own_side() -> None:
    new = {OLD.type: _changed(in_field("carrier", enum=["post", "drone"]))}
    rules = {mode: {each.rule for each in check(new, [{OLD.type: OLD}], mode)} for mode in Mode}
    assert rules[Mode.BACKWARD] == {"enum-value-removed"}
    assert rules[Mode.FORWARD] == {"enum-value-added"}
    assert rules[Mode.FULL] == rules[Mode.FULL_TRANSITIVE] == {"enum-value-removed", "enum-value-added"}


def test_a_transitive_mode_remembers_every_release() -> None:
    releases: list[Contracts] = [{OLD.type: OLD}, {OLD.type: _changed(in_field("carrier", enum=["post"]))}]
    new = releases[-1]
    assert check(new, releases, Mode.BACKWARD) == []
    assert [each.rule for each in check(new, releases, Mode.BACKWARD_TRANSITIVE)] == ["enum-value-removed"]


def test_who_is_broken_is_named_and_who_does_not_read_the_field_is_not() -> None:
    old = contract(OrderPlaced)
    roles = [mapped(schema, lambda node: node) for schema in (old.producer, old.consumer)]
    for role in roles:
        remove("payment_method")(role)
    fulfilment = Reader(team="fulfilment", contact="fulfilment@example.com", events={old.type: ("lines",)})
    fraud = Reader(team="fraud", contact="fraud@example.com", events={old.type: ("payment_method", "customer")})
    found = check({old.type: Contract(old.type, *roles)}, [{old.type: old}])
    (_, whom), *more = counted(found, Readers(SERVICES, (fulfilment, fraud)), {old.type: old})
    assert whom == ["orders", "payments", "inventory", "fraud (fraud@example.com)"]
    assert more == []


@pytest.mark.parametrize("event", jetmesh_contracts.EVENTS, ids=lambda event: event.type)
def test_a_contract_is_compatible_with_itself(event: type[Event]) -> None:
    release = {event.type: contract(event)}
    assert check(release, [release]) == []
