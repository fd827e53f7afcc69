"""Compares the missing streams and consumers with the limits of the broker's account, before any is created."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jetmesh.jetstream.consumer_config import Config

LEVEL = 2
"""The level of the JetStream API that the streams need: nats-server 2.12."""


def shortage(account: Mapping[str, Any], streams: Sequence[Config], consumers: Sequence[Config]) -> str:
    """Why an account has no room for these streams and consumers; empty if it has.

    `account` is the answer to the API's INFO.
    """
    return next(filter(None, _reasons(account, streams, consumers)), "")


def _reasons(account: Mapping[str, Any], streams: Sequence[Config], consumers: Sequence[Config]) -> Iterable[str]:
    limits = account.get("limits") or {}
    level = (account.get("api") or {}).get("level", 0)
    if level < LEVEL:
        yield f"the broker's API has level {level}, and {LEVEL} is needed: update nats-server to 2.12 or newer"
    yield _count("streams", account.get("streams", 0), len(streams), limits.get("max_streams", -1))
    yield _count("consumers", account.get("consumers", 0), len(consumers), limits.get("max_consumers", -1))
    pending = max((config.get("max_ack_pending", 0) for config in consumers), default=0)
    if 0 < limits.get("max_ack_pending", -1) < pending:
        yield f"the account allows max_ack_pending {limits['max_ack_pending']}, and a durable needs {pending}"
    if limits.get("max_bytes_required") and not all(config.get("max_bytes", 0) > 0 for config in streams):
        yield "the account demands max_bytes of every stream (max_bytes_required): take that limit off"


def _count(what: str, has: int, missing: int, limit: int) -> str:
    if not missing or limit < 0 or has + missing <= limit:
        return ""
    return f"{missing} {what} are missing, and the account may have {limit}, of which {has} are there"
