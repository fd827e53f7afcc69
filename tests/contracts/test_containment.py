"""Where the checker finds nothing, whatever the writer may write is accepted by the reader: tried on random schemas."""

from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jetmesh.contracts.containment import refusals

Schema = dict[str, Any]

NAMES = ("a", "b", "c")
WORDS = ("", "x", "xy", "xyz", "12", "x1")
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.5]), st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=5,
)


def optional(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries({}, optional=keywords)


def typed(kind: str, **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    return optional(**keywords).map(lambda schema: {"type": kind, **schema})


BOUND = st.integers(-2, 3)
LENGTH = st.integers(0, 3)
NUMBERS = {
    "minimum": BOUND,
    "maximum": BOUND,
    "exclusiveMinimum": BOUND,
    "exclusiveMaximum": BOUND,
    "multipleOf": st.sampled_from([1, 2, 3]),
}
LEAVES = st.one_of(
    st.booleans(),
    st.just({}),
    typed("integer", **NUMBERS),
    typed("number", **NUMBERS),
    typed("string", minLength=LENGTH, maxLength=LENGTH, pattern=st.sampled_from(["x", "^[a-z]*$", "[0-9]"])),
    st.sampled_from(
        [{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, {"type": ["integer", "string"]}]
    ),
    st.lists(SCALARS, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
    st.sampled_from([{"$ref": "#/$defs/part"}, {"not": {"type": "string"}}]),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    branches = st.lists(inner, min_size=1, max_size=3)
    combined = st.one_of(*(st.fixed_dictionaries({keyword: branches}) for keyword in ("anyOf", "allOf", "oneOf")))
    objects = typed(
        "object",
        properties=st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        required=st.lists(st.sampled_from(NAMES), unique=True, max_size=2),
        additionalProperties=inner,
        minProperties=LENGTH,
        maxProperties=LENGTH,
    )
    arrays = typed(
        "array",
        items=inner,
        prefixItems=st.lists(inner, min_size=1, max_size=2),
        minItems=LENGTH,
        maxItems=LENGTH,
        uniqueItems=st.booleans(),
    )
    beside = st.tuples(combined, st.one_of(objects, LEAVES.filter(lambda leaf: isinstance(leaf, dict))))
    return st.one_of(combined, objects, arrays, beside.map(lambda pair: {**pair[1], **pair[0]}))


NODES = st.recursive(LEAVES, grown, max_leaves=6)
PARTS = typed("object", properties=st.dictionaries(st.sampled_from(NAMES), st.just({"$ref": "#"}) | LEAVES, max_size=2))


@st.composite
def documents(draw: st.DrawFn) -> Schema:
    node = draw(NODES.filter(lambda found: isinstance(found, dict)))
    part = draw(PARTS)
    return {**node, "$defs": {"part": part}}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """A schema and a variation of it: two that are wholly unlike are hardly ever compatible."""
    one = draw(documents())
    return one, draw(st.one_of(documents(), st.just(one), varied(one)))


@st.composite
def varied(draw: st.DrawFn, one: Schema) -> Schema:
    other = {name: value for name, value in one.items() if name == "$defs" or draw(st.booleans())}
    return {**other, **draw(optional(minimum=BOUND, maximum=BOUND, maxLength=LENGTH, additionalProperties=LEAVES))}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs(), st.lists(VALUES, min_size=5, max_size=30))
def test_what_is_found_compatible_is_read(pair: tuple[Schema, Schema], values: list[Any]) -> None:
    writer, reader = pair
    assume(not loops(writer) and not loops(reader))
    if refusals(writer, reader):
        return
    event("compatible")
    written = [value for value in values if Draft202012Validator(writer).is_valid(value)]
    if written:
        event("compatible, and something was written")
    refused = [value for value in written if not Draft202012Validator(reader).is_valid(value)]
    assert refused == []


def loops(document: Schema) -> bool:
    """Whether a reference leads back to itself without going into a value: such a schema means nothing."""
    return "'#'" in str(document["$defs"]) and "$defs" in str({k: v for k, v in document.items() if k != "$defs"})


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents())
def test_removing_every_demand_breaks_no_reader(document: Schema) -> None:
    assert refusals(document, {}) == []


def test_a_closed_writer_and_an_open_reader_may_know_different_optional_fields() -> None:
    writer = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    reader = {"type": "object", "properties": {"b": {"type": "integer"}}}
    assert refusals(writer, reader) == []
    opened = refusals({**writer, "additionalProperties": True}, reader)
    assert {(each.what, each.path) for each in opened} == {("type", "b")}


def test_a_recursive_schema_is_compared_with_itself() -> None:
    tree: Schema = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert refusals(tree, tree) == []
    deeper: Schema = {**tree, "required": ["children"]}
    assert [(each.what, each.path) for each in refusals(tree, deeper)] == [
        ("missing", "children"),
        ("missing", "children[].children"),
    ]
