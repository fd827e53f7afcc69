"""Where a reaction begins in the events that were recorded before its durable was made."""

from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeGuard

Since: TypeAlias = Literal["now", "beginning"] | datetime
"""`now`: what is recorded from then on; `beginning`: everything; a time: what was recorded since."""

FORMS = '"now", "beginning" or a time with its zone that is past'


def is_since(value: Any) -> TypeGuard[Since]:
    """Whether it is one. A time without a zone means another one on every machine. With one that is to come the broker
    begins at once, and with one that it can't count to at the beginning."""
    if isinstance(value, datetime):
        return value.tzinfo is not None and value <= datetime.now(UTC)
    return value in ("now", "beginning")


def read(text: str) -> Since:
    """What somebody writes at a terminal: `now`, `beginning`, `2026-11-01T00:00:00Z`.

    Raises:
        ValueError: it is none of them.
    """
    if text == "now":
        return "now"
    if text == "beginning":
        return "beginning"
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone: write {text}Z")
    if not is_since(found):
        raise ValueError(f"{text} is to come: write now")
    return found
