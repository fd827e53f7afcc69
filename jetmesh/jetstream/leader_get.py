"""One message of a stream, read from its leader (STREAM.MSG.GET): unlike a replica, a leader never lags."""

from base64 import b64decode
from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.transport import Transport


async def message_at(connection: Transport, stream: str, sequence: int) -> RawDelivery | None:
    """The message of this sequence; None if it is gone, or there is no such stream.

    Raises:
        Unavailable: the broker does not answer.
    """
    return await _get(connection, stream, {"seq": sequence})


async def next_message(connection: Transport, stream: str, first: int, subjects: str) -> RawDelivery | None:
    """The first message on these subjects from the sequence `first` on; None if there is none.

    Raises:
        Unavailable: the broker does not answer.
    """
    return await _get(connection, stream, {"seq": first, "next_by_subj": subjects})


async def last_message(connection: Transport, stream: str, subject: str) -> RawDelivery | None:
    """The last message on a subject; None if there is none.

    Raises:
        Unavailable: the broker does not answer.
    """
    return await _get(connection, stream, {"last_by_subj": subject})


async def _get(connection: Transport, stream: str, wanted: dict[str, Any]) -> RawDelivery | None:
    answer = await request(connection, f"STREAM.MSG.GET.{stream}", wanted)
    if answer is None:
        return None
    message = answer["message"]
    return RawDelivery(
        subject=message["subject"],
        headers=b64decode(message.get("hdrs") or ""),
        data=b64decode(message.get("data") or ""),
        reply="",
        stream=stream,
        sequence=message["seq"],
        delivered=0,
        timestamp=unix_nano(message["time"]) / 1e9,
    )
