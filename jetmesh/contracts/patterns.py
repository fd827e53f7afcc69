"""Whether two regular expressions are the same, spelled otherwise: `[0-9]{1,}` is `[0-9]+`, `(?:a)` is `a`.

Compared is what the standard library understands of them, with the characters of a class in order. Equal means equal;
two that are found different may still match the same texts.
"""

import re
import warnings
from functools import lru_cache
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the module is there, and has no public name any more
    from re import _parser  # type: ignore[attr-defined]

_LAST = 0x10FFFF


def is_same(one: str, other: str | None) -> bool:
    """Whether both match the same texts, as far as their structure shows."""
    return other is not None and (one == other or _canonical(one) == _canonical(other))


@lru_cache(maxsize=256)
def _canonical(pattern: str) -> Any:
    """What the pattern means; the pattern itself if the library does not read it."""
    try:
        return _sequence(_parser.parse(pattern))
    except (re.error, OverflowError, RecursionError):
        return pattern


def _sequence(parsed: Any) -> Any:
    return tuple(node for each in parsed for node in _node(*each))


def _node(name: Any, argument: Any) -> list[Any]:
    kind = str(name)
    if kind == "IN":
        return [("IN", _characters(argument))]
    if kind == "LITERAL":
        return [("IN", ((argument, argument),))]
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, inside = argument
        found = _sequence(inside)
        return list(found) if (least, most) == (1, 1) else [("REPEAT", least, most, found)]
    if kind == "SUBPATTERN":
        return _group(*argument)
    if kind == "BRANCH":
        return [(kind, tuple(sorted(map(_sequence, argument[1]), key=repr)))]
    return [(kind, repr(argument))]


def _group(number: Any, added: int, removed: int, inside: Any) -> list[Any]:
    """A group means nothing to whether a text matches, unless it changes flags."""
    found = list(_sequence(inside))
    return [("FLAGS", added, removed, tuple(found))] if added or removed else found


def _characters(members: Any) -> Any:
    """The ranges of a class in order, joined where they touch; with its categories (`\\d`) as they are."""
    ranges, others = [], []
    for name, argument in members:
        match str(name):
            case "LITERAL":
                ranges.append((argument, argument))
            case "RANGE":
                ranges.append(tuple(argument))
            case kind:
                others.append((kind, repr(argument)))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return (*joined, *sorted(others))
