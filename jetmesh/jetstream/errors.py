"""The server's refusals: the codes of its errors, and the exception that has one."""

from enum import IntEnum
from typing import Any


class ErrorCode(IntEnum):
    """The server's error codes that something here depends on, by the names in its errors.json."""

    ACCOUNT_RESOURCES_EXCEEDED = 10002
    CLUSTER_NO_PEERS = 10005
    CLUSTER_NOT_ACTIVE = 10006
    CLUSTER_NOT_AVAILABLE = 10008
    CLUSTER_NOT_LEADER = 10009
    CONSUMER_NOT_FOUND = 10014
    INSUFFICIENT_RESOURCES = 10023
    MEMORY_RESOURCES_EXCEEDED = 10028
    MESSAGE_NOT_FOUND = 10037
    NOT_ENABLED_FOR_ACCOUNT = 10039
    SEQUENCE_NOT_FOUND = 10043
    STORAGE_RESOURCES_EXCEEDED = 10047
    MESSAGE_EXCEEDS_MAXIMUM = 10054
    MESSAGE_DELETE_FAILED = 10057
    STREAM_NOT_FOUND = 10059
    WRONG_LAST_SEQUENCE = 10071
    STORE_FAILED = 10077
    HEADER_EXCEEDS_MAXIMUM = 10097
    STREAM_OFFLINE = 10118
    CONSUMER_OFFLINE = 10119
    DUPLICATE_MESSAGE_CONFLICT = 10158
    WRONG_LAST_SEQUENCE_CONSTANT = 10164
    MESSAGE_TTL_INVALID = 10165
    ATOMIC_PUBLISH_DISABLED = 10174
    ATOMIC_PUBLISH_INCOMPLETE_BATCH = 10176
    ATOMIC_PUBLISH_UNSUPPORTED_HEADER = 10177
    ATOMIC_PUBLISH_INVALID_BATCH_ID = 10179
    SCHEDULES_PATTERN_INVALID = 10189
    SCHEDULES_TARGET_INVALID = 10190
    SCHEDULES_TTL_INVALID = 10191
    SCHEDULES_ROLLUP_INVALID = 10192
    EXPECTED_LAST_SEQUENCE_INVALID = 10193
    ATOMIC_PUBLISH_TOO_LARGE_BATCH = 10199
    ATOMIC_PUBLISH_DUPLICATE_MESSAGE = 10201
    SCHEDULES_SOURCE_INVALID = 10203
    ATOMIC_PUBLISH_TOO_MANY_INFLIGHT = 10210
    SCHEDULES_SCHEDULER_INVALID = 10212
    SCHEDULES_TIME_ZONE_INVALID = 10223


class ApiError(Exception):
    """The server refuses a call or a publish: `code` is the status (as in HTTP), `error_code` the reason (`ErrorCode`
    has those that the code depends on), `description` the server's text."""

    def __init__(self, code: int, error_code: int, description: str, call: str = "") -> None:
        super().__init__(f"{f'{call}: ' if call else ''}{description} ({error_code})")
        self.code, self.error_code, self.description, self.call = code, error_code, description, call

    @classmethod
    def of(cls, error: dict[str, Any], call: str = "") -> "ApiError":
        """The error in an answer of the server."""
        return cls(error.get("code", 0), error.get("err_code", 0), str(error.get("description")), call)


def error_code_of(error: BaseException | None) -> int:
    """The server's error code behind an error: its own, that of the error that it was raised from, or of the first of a
    group; 0: none."""
    while error is not None and not isinstance(error, ApiError):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error.error_code if error else 0
