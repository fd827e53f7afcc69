"""Where a reaction begins in the events that were recorded before its durable was made."""

from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeGuard

Since: TypeAlias = Literal["now", "beginning"] | datetime
"""`now`: what is recorded from then on; `beginning`: everything; a time: what was recorded since."""

FORMS = '"now", "beginning" or a time with its zone'


def is_since(value: Any) -> TypeGuard[Since]:
    """Whether it is one. A time without a zone means another one on every machine."""
    return value in ("now", "beginning") or (isinstance(value, datetime) and value.tzinfo is not None)


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
    return found
