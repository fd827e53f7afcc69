"""The base class for events: what its class keywords say, and what contradicts itself."""

import pytest

import jetmesh
import jetmesh_contracts
from jetmesh.event import id_field_of, id_of, is_milestone, is_occurrence

BASES = pytest.mark.parametrize(
    ("base", "token"),
    [(jetmesh.EventModel, jetmesh.Token), (jetmesh_contracts.Event, jetmesh_contracts.Token)],
    ids=["jetmesh", "jetmesh_contracts"],
)


@BASES
def test_an_id_makes_it_an_occurrence(base: type, token: type) -> None:
    class Said(base, type="rooms.said", owner="rooms", key_field="room_id", id_field="message_id"):  # type: ignore[misc,call-arg]
        room_id: token  # type: ignore[valid-type]
        message_id: token  # type: ignore[valid-type]

    class Seen(base, type="rooms.seen", owner="rooms", key_field="room_id", occurrence=True):  # type: ignore[misc,call-arg]
        room_id: token  # type: ignore[valid-type]

    class Opened(base, type="rooms.opened", owner="rooms", key_field="room_id"):  # type: ignore[misc,call-arg]
        room_id: token  # type: ignore[valid-type]

    said, seen = Said(room_id="r-1", message_id="m-1"), Seen(room_id="r-1")
    assert (is_occurrence(Said), id_field_of(Said), id_of(said)) == (True, "message_id", "m-1")
    assert (is_occurrence(Seen), id_field_of(Seen), id_of(seen)) == (True, "", "")
    assert (is_milestone(Said), is_milestone(Opened)) == (False, True)


@BASES
@pytest.mark.parametrize("name", ["text", "nowhere"])
def test_an_id_is_a_field_that_can_be_a_token(base: type, token: type, name: str) -> None:
    with pytest.raises(TypeError, match=f"Said: id_field='{name}' must name a field that is a Token"):

        class Said(base, type="rooms.said", owner="rooms", key_field="room_id", id_field=name):  # type: ignore[misc,call-arg]
            room_id: token  # type: ignore[valid-type]
            text: str


@BASES
@pytest.mark.parametrize("other", ["state", "ending"])
def test_an_occurrence_is_nothing_else(base: type, token: type, other: str) -> None:
    with pytest.raises(TypeError, match=f"Seen: it is an occurrence and {other}=True"):

        class Seen(base, type="rooms.seen", owner="rooms", key_field="room_id", occurrence=True, **{other: True}):  # type: ignore[misc,call-arg]
            room_id: token  # type: ignore[valid-type]
