"""Counts short-lived connections: after each one a pull asks for less, as a slow consumer must."""

import time

SHORT_LIFE_SECONDS = 10.0
FORGIVEN_SECONDS = 60.0


class Lifetimes:
    """Counts how often in a row a connection was lost soon after it was made."""

    def __init__(self) -> None:
        self._short = 0
        self._born = self._lost = time.monotonic()

    @property
    def short(self) -> int:
        """How many in a row were short; each minute that the present one lasts takes one off."""
        return max(0, self._short - int((time.monotonic() - self._born) / FORGIVEN_SECONDS))

    def begin(self) -> None:
        """The first connection is made."""
        self._born = time.monotonic()

    def end(self) -> None:
        """The connection is lost."""
        self._lost = time.monotonic()

    def begin_again(self) -> None:
        """It is made again."""
        before, was_short = self.short, self._lost - self._born < SHORT_LIFE_SECONDS
        self._short = before + 1 if before or was_short else 0
        self._born = time.monotonic()
