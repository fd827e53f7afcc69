"""Subjects: made, taken apart, and compared with patterns as the server compares them."""

import pytest

from jetmesh.jetstream.subject import Subject, covers, is_marker, marker_subject, story_subject


@pytest.mark.parametrize(
    ("text", "parts", "type"),
    [
        ("orders.placed.o-1", ("orders", "placed", "o-1", ""), "orders.placed"),
        ("orders.placed", ("orders", "placed", "", ""), "orders.placed"),
        ("chat.sent.room-7.m-1", ("chat", "sent", "room-7", "m-1"), "chat.sent"),
    ],
)
def test_a_subject_says_its_type_its_key_and_its_id(text: str, parts: tuple[str, str, str, str], type: str) -> None:
    subject = Subject.parse(text)
    assert (*subject, subject.type, str(subject)) == (*parts, type, text)


@pytest.mark.parametrize(
    ("pattern", "subject", "holds"),
    [
        (">", "orders.placed", True),
        ("orders.*", "orders.placed", True),
        ("orders.*", "orders.placed.o-1", False),
        ("orders.placed.*", "orders.placed.o-1", True),
        ("orders.placed.*", "orders.confirmed.o-1", False),
        ("orders.>", "payments.captured.o-1", False),
        ("orders.>", "orders.placed.o-1", True),
        ("orders.>", "orders", False),
        ("*.>", "orders.placed", True),
        ("orders.*.*", "orders.placed.*", True),
        ("orders.>", "orders.*.*", True),
        ("orders.*.*", "orders.>", False),
        ("orders.placed.*", "orders.*.*", False),
    ],
)
def test_a_pattern_covers_what_the_server_matches(pattern: str, subject: str, holds: bool) -> None:
    assert covers(pattern, subject) is holds


def test_a_marker_is_part_of_its_story_and_no_event() -> None:
    marker = marker_subject("orders", "o-1")
    assert is_marker(marker)
    assert not is_marker("orders.placed.ENDED")
    assert covers(story_subject("orders", "o-1"), marker)
