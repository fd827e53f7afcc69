"""Reads JSON bodies from outside by one rule: over NATS, over HTTP and in `jetmesh validate`.

The rule is I-JSON (RFC 7493): UTF-8, no name twice in one object, no half of a surrogate pair, no NaN or Infinity.
A byte order mark and 2.0 for 2 are accepted, because other languages write them.
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_json

WHOLE_MAX = 1 << 53
"""The largest whole number up to which each one is exactly one double."""


class Malformed(ValueError):
    """The body is not JSON that every reader reads alike; the text says why."""


def document(data: bytes) -> Any:
    """The value of the body, with 2.0 as 2.

    Raises:
        Malformed: it is not JSON, or readers would differ about it.
    """
    plain = data.removeprefix(BOM_UTF8)
    try:
        from_json(plain, allow_inf_nan=False)
        return _DECODER.decode(plain.decode())
    except Malformed:
        raise
    except ValueError as wrong:
        raise Malformed(f"Invalid JSON: {_why(data, str(wrong))}") from None


def canonical(data: bytes) -> bytes:
    """The body rewritten so that every reader reads the same.

    Raises what `document` raises.
    """
    return to_json(document(data))


def lean(data: bytes, fields: Mapping[str, FieldInfo]) -> bytes:
    """A canonical body with these fields alone: unread fields would only make an error text large.

    Raises:
        Malformed: a field has more items than its contract allows.
    """
    said = from_json(data)
    if not isinstance(said, dict):
        return data
    known = {name: value for name, value in said.items() if name in fields}
    for name, value in known.items():
        limits = [rule.max_length for rule in fields[name].metadata if hasattr(rule, "max_length")]
        if isinstance(value, list) and (most := next(iter(limits), len(value))) < len(value):
            raise Malformed(f"{name}: {len(value)} items are more than {most}")
    return to_json(known)


def _why(data: bytes, parser_says: str) -> str:
    encoding = json.detect_encoding(data)
    if not encoding.startswith("utf-8"):
        return f"it is {encoding[:6].upper()}; send it in UTF-8"
    if "hex escape" in parser_says:
        return f"{parser_says}: half of a surrogate pair is no character"
    return parser_says


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate names: readers differ about which of two members counts."""
    found = dict(members)
    if len(found) < len(members):
        twice, _ = Counter(name for name, _ in members).most_common(1)[0]
        raise Malformed(f"{json.dumps(twice)[:80]} stands twice in one object; send it once")
    return found


def _number(text: str) -> float:
    """2.0 as 2: JSON Schema takes them for one number, and some languages write only the first."""
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Malformed(f"{text[:40]} is too large a number")
    return int(number) if number.is_integer() and abs(number) <= WHOLE_MAX else number


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_number)
