"""Escapes text from outside, so that every character of it is visible.

Control characters, starts of escape sequences (8-bit ones too), bidirectional overrides, line ends inside a field and
half surrogate pairs become escapes such as \\x1b.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

_SEEN = "".join(map(chr, range(0x20, 0x7F)))


class _Escapes(dict[int, str]):
    """The replacement of each character. Only `kept` ones are remembered: there are a million others."""

    def __init__(self, escape: Callable[[str], str], kept: str = _SEEN) -> None:
        super().__init__({ord(character): character for character in kept})
        self._escape = escape

    def __missing__(self, code: int) -> str:
        character = chr(code)
        return character if character.isprintable() else self._escape(character)


def _in_python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def in_json(character: str) -> str:
    """The escape of a character, as Python and JSON understand it."""
    return json.dumps(character)[1:-1]


_LINE = _Escapes(_in_python)
_LINES = _Escapes(_in_python, f"{_SEEN}\n")
_JSON = _Escapes(in_json, f"{_SEEN}\n")


def visible(text: object) -> str:
    """A field on one line."""
    said = str(text)
    return said if said.isprintable() else said.translate(_LINE)


def lines(text: object) -> str:
    """A text of several lines."""
    said = str(text)
    return said if said.isprintable() else said.expandtabs().translate(_LINES)


def written(document: object, **options: Any) -> str:
    """A document as JSON, with invisible characters as JSON escapes: the value stays the same."""
    text = json.dumps(document, ensure_ascii=False, default=str, **options)
    return text if text.isprintable() else text.translate(_JSON)


class OneLine(logging.Formatter):
    """Formats a log record as one line, without a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        error = record.exc_info[1] if record.exc_info else None
        return visible(f"{record.getMessage()}: {error}" if error else record.getMessage())


class LineFormatter(logging.Formatter):
    """Formats a log record as a line for people. A traceback is indented, so that it can't pass for a log line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's name)
        """The traceback."""
        return "\n".join(f"  {line}" for line in lines(super().formatException(ei)).split("\n"))
