"""Times as pages write them: for machines, and in UTC for the pointer; `static/base/times.js` says them in the viewer's
zone."""

from datetime import UTC, datetime


def in_utc(time: datetime) -> tuple[str, str]:
    """The `datetime` and the `title` of an element `time`."""
    at = time.astimezone(UTC)
    return at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1_000:03d} UTC"
