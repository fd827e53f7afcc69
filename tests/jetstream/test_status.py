"""Statuses: what the server says instead of a message."""

import pytest

from jetmesh.jetstream.status import Status, StatusKind


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"100 Idle Heartbeat\r\nNats-Last-Consumer: 1", StatusKind.IDLE),
        (b"204 EOB\r\nNats-Num-Pending: 0", StatusKind.END),
        (b"404 No Messages", StatusKind.NOTHING),
        (b"408 Request Timeout", StatusKind.EXPIRED),
        (b"409 Batch Completed", StatusKind.BATCH_COMPLETED),
        (b"409 Message Size Exceeds MaxBytes", StatusKind.MESSAGE_TOO_LARGE),
        (b"409 Consumer Deleted", StatusKind.CONSUMER_DELETED),
        (b"409 Leadership Change", StatusKind.OTHER),
        (b"503", StatusKind.NO_RESPONDERS),
        (b"\xff", StatusKind.OTHER),
    ],
)
def test_a_status_is_known_by_its_code_and_409_by_its_words(line: bytes, kind: StatusKind) -> None:
    status = Status.of(b"NATS/1.0 " + line + b"\r\n\r\n")
    assert status
    assert status.kind is kind


def test_the_headers_of_a_message_are_no_status() -> None:
    assert Status.of(b"NATS/1.0\r\nStatus: 404\r\n\r\n") is None
    assert Status.of(b"") is None
    assert str(Status.of(b"NATS/1.0 409 Leadership Change\r\n\r\n")) == "409 Leadership Change"
