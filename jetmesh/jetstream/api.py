"""The JetStream API: requests to `$JS.API.…` and what the server answers."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from jetmesh.failure import BrokerUnavailable, Unavailable
from jetmesh.jetstream.errors import ApiError, ErrorCode
from jetmesh.jetstream.transport import Transport

NOT_FOUND = frozenset({ErrorCode.STREAM_NOT_FOUND, ErrorCode.CONSUMER_NOT_FOUND, ErrorCode.MESSAGE_NOT_FOUND})
NOT_NOW = frozenset(
    {
        ErrorCode.CLUSTER_NO_PEERS,
        ErrorCode.CLUSTER_NOT_ACTIVE,
        ErrorCode.CLUSTER_NOT_AVAILABLE,
        ErrorCode.CLUSTER_NOT_LEADER,
        ErrorCode.INSUFFICIENT_RESOURCES,
        ErrorCode.STREAM_OFFLINE,
        ErrorCode.CONSUMER_OFFLINE,
    }
)
"""Refusals that end by themselves, or when a server of the cluster is back."""
FORGOTTEN_SECONDS = 3_600
FOR_GOOD = timedelta(days=36_500)
"""As long as a pause may be: the broker has none without an end."""


async def request(
    connection: Transport, call: str, body: Any = None, *, strict: bool = False, timeout_seconds: float = 5.0
) -> Any:
    """The answer to one call of the JetStream API (`STREAM.INFO.ORDERS`); None if its object does not exist.
    The connection's clock learns the broker's time from it.

    Raises:
        Unavailable: JetStream did not answer, or can't do it now.
        ApiError: the server refuses the call; with `strict` also if it does not exist.
    """
    data = json.dumps(body).encode() if body is not None else b""
    asked = time.monotonic()
    document = json.loads(await connection.ask(connection.api(call), data, timeout_seconds))
    if timestamp := document.get("ts"):
        connection.clock.learn(timestamp, asked, time.monotonic())
    if "error" not in document:
        return document
    refused = ApiError.of(document["error"], call)
    if not strict and refused.error_code in NOT_FOUND:
        return None
    if refused.error_code in NOT_NOW:
        raise BrokerUnavailable(str(refused)) from refused
    raise refused


async def delete_message(connection: Transport, stream: str, sequence: int, timeout_seconds: float = 5.0) -> bool:
    """Delete one message of a stream; False if it does not exist.

    Raises:
        Unavailable: JetStream did not answer, or can't do it now.
        ApiError: the server refuses it.
    """
    body = {"seq": sequence, "no_erase": True}
    try:
        return bool(await request(connection, f"STREAM.MSG.DELETE.{stream}", body, timeout_seconds=timeout_seconds))
    except ApiError as refused:
        if refused.error_code == ErrorCode.SEQUENCE_NOT_FOUND:
            return False
        # The same code for a message that does not exist and for one that may not be deleted.
        is_failed = refused.error_code == ErrorCode.MESSAGE_DELETE_FAILED
        if is_failed and await request(connection, f"STREAM.MSG.GET.{stream}", {"seq": sequence}) is None:
            return False
        raise


async def pause(connection: Transport, stream: str, durable: str, until: datetime | None) -> bool:
    """Let a durable deliver nothing until then; None ends the pause. False if there is none. Raises what `request`
    raises."""
    body = {"pause_until": until.isoformat()} if until else {}
    return bool(await request(connection, f"CONSUMER.PAUSE.{stream}.{durable}", body))


async def stream_names(connection: Transport) -> list[str]:
    """The names of all streams; raises what `request` raises."""
    return await _pages(connection, "STREAM.NAMES", "streams")


async def consumers_of(connection: Transport, stream: str) -> list[Any]:
    """The descriptions of all consumers of a stream; raises what `request` raises."""
    return await _pages(connection, f"CONSUMER.LIST.{stream}", "consumers")


async def _pages(connection: Transport, call: str, what: str) -> list[Any]:
    found: list[Any] = []
    while answer := await request(connection, call, {"offset": len(found)}):
        found += answer[what] or ()
        if not answer[what] or len(found) >= answer["total"]:
            break
    return found


async def broker_time(connection: Transport, stream: str) -> datetime:
    """The broker's time.

    Raises:
        Unavailable: the broker does not answer.
    """
    await request(connection, f"STREAM.INFO.{stream}")
    if not connection.clock.is_known:
        raise Unavailable(f"the broker does not say what time it is: there is no stream {stream}")
    return connection.clock.utc()


@asynccontextmanager
async def passing_consumer(connection: Transport, stream: str, purpose: str, **config: Any) -> AsyncIterator[str]:
    """An ephemeral consumer without acknowledgements for the block; yields its name. If the process is killed, the
    broker deletes it after `FORGOTTEN_SECONDS` without a pull.

    Raises:
        Unavailable: JetStream did not answer.
        ApiError: there is no such stream, or the server refuses the configuration.
    """
    name = f"{purpose}-{time.time_ns():x}"
    own = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "inactive_threshold": int(FORGOTTEN_SECONDS * 1e9),
    }
    body = {"stream_name": stream, "config": own | config}
    await request(connection, f"CONSUMER.CREATE.{stream}.{name}", body, strict=True)
    try:
        yield name
    finally:
        with suppress(Unavailable):  # in place of an error of the block, or of its end
            if not connection.trouble:
                await request(connection, f"CONSUMER.DELETE.{stream}.{name}")
