"""The JetStream API: what the server refuses is told by its code."""

from typing import Any

import pytest

from jetmesh.failure import BrokerUnavailable
from jetmesh.jetstream.api import NOT_NOW, delete_message, request
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.errors import ApiError, ErrorCode, error_code_of
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher

STREAM: dict[str, Any] = {"name": "THINGS", "subjects": ["thing.*.*"], "allow_direct": True}


async def test_a_refusal_has_the_servers_code_and_words(connection: Connection) -> None:
    with pytest.raises(ApiError) as refused:
        await request(connection, "STREAM.INFO.NONE", strict=True)
    assert refused.value.error_code == ErrorCode.STREAM_NOT_FOUND
    assert (refused.value.code, refused.value.description) == (404, "stream not found")
    assert str(refused.value) == "STREAM.INFO.NONE: stream not found (10059)"


async def test_what_does_not_exist_is_none_unless_it_must(connection: Connection) -> None:
    await request(connection, "STREAM.CREATE.THINGS", STREAM, strict=True)
    assert await request(connection, "STREAM.INFO.NONE") is None
    assert await request(connection, "CONSUMER.INFO.THINGS.none") is None
    assert await request(connection, "STREAM.MSG.GET.THINGS", {"seq": 1}) is None


async def test_a_message_that_is_gone_is_told_from_one_that_may_not_be_deleted(connection: Connection) -> None:
    await request(connection, "STREAM.CREATE.THINGS", STREAM, strict=True)
    for number in range(3):
        await connection.ask(f"thing.made.t-{number}", b"{}")
    assert await delete_message(connection, "THINGS", 2)
    assert not await delete_message(connection, "THINGS", 2)
    assert not await delete_message(connection, "THINGS", 9)
    await request(connection, "STREAM.UPDATE.THINGS", {**STREAM, "deny_delete": True}, strict=True)
    assert not await delete_message(connection, "THINGS", 2)
    with pytest.raises(ApiError, match="not permitted") as refused:
        await delete_message(connection, "THINGS", 1)
    assert refused.value.error_code == ErrorCode.MESSAGE_DELETE_FAILED


async def test_a_refused_guard_tells_the_sequence_that_stands_there(connection: Connection) -> None:
    await request(connection, "STREAM.CREATE.THINGS", STREAM, strict=True)
    publisher = Publisher(connection)
    await publisher.start()
    try:
        await publisher.record(Message("thing.made.t-1", b"{}", {}, Guard("thing.*.t-1", 0)))
        with pytest.raises(Refused) as refused:
            await publisher.record(Message("thing.made.t-1", b"{}", {}, Guard("thing.*.t-1", 0)))
        assert refused.value.last_sequence == 1
        assert error_code_of(refused.value) == ErrorCode.WRONG_LAST_SEQUENCE
    finally:
        await publisher.close()


def test_the_code_is_found_behind_what_was_raised_from_it_and_in_a_group() -> None:
    refused = ApiError(503, ErrorCode.STREAM_OFFLINE, "stream is offline", "STREAM.INFO.ORDERS")
    unavailable = BrokerUnavailable(str(refused))
    unavailable.__cause__ = refused
    assert refused.error_code in NOT_NOW
    assert error_code_of(ExceptionGroup("several", [unavailable])) == ErrorCode.STREAM_OFFLINE
    assert error_code_of(ValueError("nobody's")) == 0
