"""Which failure's traceback goes to the log: the first of its kind, and again after a while.

A thousand failing deliveries say the same, and formatting it each time would hold up those that do not fail.
"""

import time
from types import CodeType

AGAIN_SECONDS = 10.0
KINDS_MAX = 256

Kind = tuple[type[BaseException], CodeType | None, int]


class Tracebacks:
    """Remembers what was told. A kind of failure is its type and the line that raised it."""

    def __init__(self) -> None:
        self._told: dict[Kind, float] = {}

    def news(self, error: BaseException) -> BaseException | None:
        """The error, if its traceback shall be told; None if it was, lately."""
        kind, now = _kind(error), time.monotonic()
        if now - self._told.get(kind, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return None
        self._told.pop(kind, None)
        self._told[kind] = now
        if len(self._told) > KINDS_MAX:
            del self._told[next(iter(self._told))]
        return error


def _kind(error: BaseException) -> Kind:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return type(error), last.tb_frame.f_code if last else None, last.tb_lineno if last else 0
