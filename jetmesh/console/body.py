"""A body as a page shows it: its lines, with the contract's complaint at the field; and what an edit changed."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jetmesh.common import json_body
from jetmesh.common.visible import lines
from jetmesh.event import EventType

LINES_MAX, DIFF_LINES_MAX = 20_000, 4_000
"""A body that would take more lines is shown as it is stored, on its own lines."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class BodyLine:
    """A line of a body; `complaint` is what the contract says of the field that begins here. Of a diff, `sign` is + or
    -."""

    text: str
    complaint: str = ""
    sign: str = ""


@dataclass(frozen=True, slots=True)
class ShownBody:
    """A body, and the complaints that no line of it is about."""

    lines: Sequence[BodyLine]
    complaints: Sequence[str]
    size: int


def shown(data: bytes, event_type: EventType | None = None) -> ShownBody:
    """The body of an event; what is no JSON (or nested too deep for any reader) is shown as it is."""
    complaints = dict(_complaints(data, event_type)) if event_type else {}
    try:
        document = json_body.document(data)
    except json_body.Malformed as malformed:
        return _raw(data, [f"body: {malformed}"] if event_type else [])
    written = list(islice(_written(document), LINES_MAX + 1))
    if len(written) > LINES_MAX:
        return _raw(data, _named(complaints))
    left = dict(complaints)
    found = [BodyLine(lines(text), left.pop(path, "")) for path, text in written]
    return ShownBody(found, _named(left), len(data))


def editable(data: bytes) -> str:
    """The body as a text to be edited: JSON over several lines, unless these are too many; anything else as it is."""
    try:
        document = json_body.document(data)
    except json_body.Malformed:
        return data.decode("utf-8", "replace")
    written = json.dumps(document, indent=2, ensure_ascii=False)
    return written if written.count("\n") < LINES_MAX else data.decode("utf-8", "replace")


def complaints_of(data: bytes, event_type: EventType) -> list[str]:
    """What the contract says is wrong with a body, a sentence for each field."""
    return _named(dict(_complaints(data, event_type)))


def difference(before: bytes, after: bytes) -> list[BodyLine]:
    """What an edit changed, line by line."""
    old, new = (_lines_of(data) for data in (before, after))
    if len(old) + len(new) > DIFF_LINES_MAX:
        return [BodyLine("The bodies are too long for a diff.")]
    return [BodyLine(text, sign=sign) for sign, text in _signed(old, new)]


def _signed(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The lines of both, with what became of them. (`difflib.ndiff` also looks for like lines, and takes a minute for
    700.)"""
    for kind, *(first, last, begin, end) in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if kind == "equal":
            yield from (("", text) for text in old[first:last])
        else:
            yield from (("-", text) for text in old[first:last])
            yield from (("+", text) for text in new[begin:end])


def _lines_of(data: bytes) -> list[str]:
    return [line.text for line in shown(data).lines]


def _raw(data: bytes, complaints: Sequence[str]) -> ShownBody:
    text = lines(data.decode("utf-8", "backslashreplace"))
    return ShownBody([BodyLine(line) for line in text.split("\n")], complaints, len(data))


def _complaints(data: bytes, event_type: EventType) -> Iterator[tuple[Path, str]]:
    """The wrong fields of a body with the reasons; without the values, which stand there."""
    try:
        event_type.read(data)
    except ValueError as invalid:
        errors = getattr(invalid, "errors", None)
        if errors is None:
            yield (), str(invalid)
            return
        for error in errors(include_input=False, include_url=False, include_context=False):
            yield tuple(error["loc"]), error["msg"]


def _named(complaints: Mapping[Path, str]) -> list[str]:
    return [f"{'.'.join(map(str, path)) or 'body'}: {words}" for path, words in complaints.items()]


def _written(node: Any, path: Path = (), name: str = "", comma: str = "") -> Iterator[tuple[Path, str]]:
    """The lines of a document, each with the path of the field that begins there."""
    indent = "  " * len(path)
    members = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    opening, closing = ("{", "}") if isinstance(node, dict) else ("[", "]")
    if not members:
        yield path, f"{indent}{name}{json.dumps(node, ensure_ascii=False)}{comma}"
        return
    yield path, f"{indent}{name}{opening}"
    for number, (key, value) in enumerate(members, 1):
        title = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(node, dict) else ""
        yield from _written(value, (*path, key), title, "," if number < len(members) else "")
    yield ("\0end", *path), f"{indent}{closing}{comma}"
