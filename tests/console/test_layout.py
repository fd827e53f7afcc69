"""Boxes stand in layers, in the same places each time, and on nobody else's."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetmesh.console.layout import GAP_X, WIDTH_MAX, Drawing, Placed, Size, drawn
from jetmesh.console.picture import picture
from tests.support.tollgate import tollgate

BOX = Size(100, 40)
NODES = [f"n{number}" for number in range(12)]


def _drawn(*edges: str) -> Drawing:
    pairs = [(edge[0], edge[1]) for edge in edges]
    return drawn({node: BOX for edge in pairs for node in edge}, pairs)


def test_what_follows_stands_below() -> None:
    boxes = _drawn("ab", "bc", "ac").boxes
    assert boxes["a"].y < boxes["b"].y < boxes["c"].y


def test_what_nothing_points_to_stands_near_what_follows() -> None:
    boxes = _drawn("ab", "bc", "cd", "xd").boxes
    assert boxes["x"].y == boxes["c"].y


def test_an_edge_that_closes_a_circle_points_upwards() -> None:
    found = _drawn("ab", "bc", "ca")
    assert found.boxes["a"].y < found.boxes["c"].y
    assert found.edges["c", "a"][0][1] > found.edges["c", "a"][-1][1]


def test_edges_that_need_not_cross_do_not() -> None:
    boxes = _drawn("ax", "by", "ax", "cz").boxes
    upper = sorted("abc", key=lambda node: boxes[node].x)
    lower = sorted("xyz", key=lambda node: boxes[node].x)
    assert [{"a": "x", "b": "y", "c": "z"}[node] for node in upper] == lower


def test_no_boxes_are_a_picture_too() -> None:
    assert drawn({}, []).boxes == {}


def test_a_layer_that_is_too_wide_becomes_several() -> None:
    followers = [f"n{number}" for number in range(14)]
    found = drawn(
        dict.fromkeys(["start", *followers, "end"], BOX), [*(("start", each) for each in followers), ("n7", "end")]
    )
    rows = Counter(found.boxes[each].y for each in followers)
    assert (len(rows), max(rows.values()) - min(rows.values())) == (2, 0)
    assert found.width <= WIDTH_MAX + 7 * GAP_X
    assert found.boxes["n7"].y == max(rows)
    assert found.boxes["end"].y > max(rows)


def test_an_edge_passes_a_layer_straight_beside_its_boxes() -> None:
    found = _drawn("ab", "bc", "ac")
    passed, b = found.edges["a", "c"][1:-1], found.boxes["b"]
    assert [y for _, y in passed] == [b.y, b.y + b.height]
    assert len({x for x, _ in passed}) == 1
    assert not b.x <= passed[0][0] <= b.x + b.width


EDGES = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=40)


@given(EDGES)
@settings(max_examples=100, deadline=None)
def test_boxes_never_overlap_and_the_same_graph_is_the_same_picture(edges: list[tuple[str, str]]) -> None:
    sizes = dict.fromkeys(NODES, BOX)
    found = drawn(sizes, edges)
    assert not [pair for pair in combinations(found.boxes.values(), 2) if _overlap(*pair)]
    assert all(box.x >= 0 and box.x + box.width <= found.width for box in found.boxes.values())
    assert found == drawn(sizes, edges)


def _overlap(one: Placed, other: Placed) -> bool:
    beside = one.x + one.width <= other.x + 0.01 or other.x + other.width <= one.x + 0.01
    return not beside and one.y < other.y + other.height and other.y < one.y + one.height


@pytest.mark.parametrize("watches", [False, True])
def test_the_picture_of_an_app_has_every_reaction_and_event(watches: bool) -> None:
    found = picture([tollgate(watches=watches)])
    assert [box.id for box in found.reactions] == ["tolls.charge", *(["tolls.note"] if watches else [])]
    assert {"cars.arrived", "tolls.paid"} <= {box.name for box in found.events}
    assert {arrow.last for arrow in found.arrows} >= {"tolls.charge", "e:tolls.paid"}
