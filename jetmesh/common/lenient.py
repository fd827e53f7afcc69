"""Numbers and times in headers that anybody may write: a text that is no number counts as absent."""

import math
import re
from datetime import UTC, datetime

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_SECONDS_MAX = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970: the last that a `datetime` can hold."""
EPOCH = datetime.fromtimestamp(0, UTC)


def whole(text: str, default: int = 0) -> int:
    """A count or a sequence: up to eighteen digits."""
    return int(text) if _WHOLE.fullmatch(text) else default


def seconds(text: str, default: float = 0.0) -> float:
    """A time in seconds since 1970."""
    try:
        found = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        return default
    return found if 0.0 <= found <= _SECONDS_MAX else default


def moment(text: str) -> datetime:
    """A time in RFC 3339; 1970 if it is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return EPOCH
