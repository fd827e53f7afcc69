"""Conditions on a JSON document: a path, and what stands there (`items[*].sku = "mug"`, `total_minor >= 1000`)."""

import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

STEP = re.compile(r"""\.?(?:(?P<name>[^.\[\]\s=!<>~'"]+)|\[(?P<number>\d+|\*)\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\])""")
SIGN = re.compile(r"\s*(?P<sign>!=|<=|>=|==?|<|>|~)\s*(?P<value>.*)", re.DOTALL)
SYNTAX = (
    'write a path, and what it shall be: items[*].sku = "mug", total_minor >= 1000, address.city ~ ville, '
    "or the path alone"
)
LENGTH_MAX = 500


class WrongPath(ValueError):
    """It is no condition; the text says how to write one."""


def _within(found: Any, wanted: Any) -> bool:
    return str(wanted).lower() in str(found).lower()


SIGNS: MappingProxyType[str, Callable[[Any, Any], bool]] = MappingProxyType({
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "~": _within,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """A path, as names, places and `*`; and what stands there, if it matters."""

    steps: tuple[str | int, ...]
    sign: str = ""
    value: Any = None

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read a condition.

        Raises:
            WrongPath: it is none.
        """
        text = text.strip().removeprefix("$")
        steps, at = list[str | int](), 0
        while found := STEP.match(text, at):
            steps.append(_step(found))
            at = found.end()
        rest = SIGN.fullmatch(text, at)
        if not steps or len(text) > LENGTH_MAX or (text[at:].strip() and rest is None):
            raise WrongPath(SYNTAX)
        return cls(tuple(steps), rest["sign"], _value(rest["value"])) if rest else cls(tuple(steps))

    def found_in(self, document: Any) -> list[Any]:
        """The values at the path that are as they shall be."""
        return [value for value in _values(document, self.steps) if self._holds(value)]

    def _holds(self, value: Any) -> bool:
        if not self.sign:
            return True
        try:
            return SIGNS[self.sign](value, self.value)
        except TypeError:  # a text is neither less nor more than a number
            return False


def _step(found: re.Match[str]) -> str | int:
    if quoted := found["quoted"]:
        return str(json.loads(quoted))
    number = found["number"]
    return int(number) if number and number != "*" else number or found["name"]


def _value(text: str) -> Any:
    """A JSON value; what is none is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _values(node: Any, steps: tuple[str | int, ...]) -> Iterator[Any]:
    if not steps:
        yield node
        return
    step, *rest = steps
    for child in _children(node, step):
        yield from _values(child, tuple(rest))


def _children(node: Any, step: str | int) -> Iterator[Any]:
    if step == "*":
        yield from node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    elif isinstance(node, dict) and str(step) in node:
        yield node[str(step)]
    elif isinstance(node, list) and isinstance(step, int) and step < len(node):
        yield node[step]
