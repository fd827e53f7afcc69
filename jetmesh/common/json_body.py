"""A JSON body that comes from outside, read by one rule: over NATS, over HTTP and by `jetmesh validate`.

The rule is I-JSON (RFC 7493): UTF-8, no name twice in one object, no half of a surrogate pair, no number that is none.
Two habits of other languages are borne: a byte order mark in front, and 2.0 for 2.
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_json

WHOLE_MAX = 1 << 53
"""Up to here each whole number is exactly one double."""


class Malformed(ValueError):
    """The body is no JSON that every reader understands alike; the text says why."""


def document(data: bytes) -> Any:
    """What the body says, with 2.0 as 2.

    Raises:
        Malformed: it says nothing, or not the same to every reader.
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
    """The body as every reader takes it.

    Raises what `document` raises.
    """
    return to_json(document(data))


def lean(data: bytes, fields: Mapping[str, FieldInfo]) -> bytes:
    """A canonical body with these fields alone: what nobody reads would make an error about the others large.

    Raises:
        Malformed: a field has more items than it may; each of them might be wrong in its own way.
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
    """An object; which of two members of one name counts, each reader decides differently."""
    found = dict(members)
    if len(found) < len(members):
        twice, _ = Counter(name for name, _ in members).most_common(1)[0]
        raise Malformed(f"{json.dumps(twice)[:80]} stands twice in one object; send it once")
    return found


def _number(text: str) -> float:
    """One number in JSON Schema is 2.0 and 2, and some languages write no other."""
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Malformed(f"{text[:40]} is too large a number")
    return int(number) if number.is_integer() and abs(number) <= WHOLE_MAX else number


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_number)
